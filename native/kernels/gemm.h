// Products of float32 matrices: C = A B (+ C) (+ bias).
//
// Three levels, each built from the next:
//   Gemm           shares one product among the threads. To be called from an op's Compute.
//   GemmInThread   the same within the calling thread. For kernels that share out their work themselves (ParallelFor).
//   GemmPieces     packing and multiplying of cache-sized blocks, for kernels whose operands are not plain matrices
//                  (convolutions) or are multiplied many times (recurrent layers).
//
// The method is that of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008): operands are copied
// ("packed") into the order in which the innermost loop reads them, whatever their own layout, in blocks that fit the caches.
#pragma once

#include <cstdint>

namespace mg {

// Element (i, j) is data[i * row_stride + j * column_stride]; one of the two strides is 1.
struct Matrix {
  const float* data;
  int64_t row_stride;
  int64_t column_stride;

  Matrix At(int64_t i, int64_t j) const { return {data + i * row_stride + j * column_stride, row_stride, column_stride}; }
};

// A matrix as it lies in memory, row by row, `stride` numbers from row to row; and its transpose.
inline Matrix RowMajor(const float* data, int64_t stride) { return {data, stride, 1}; }
inline Matrix Transposed(const float* data, int64_t stride) { return {data, 1, stride}; }

struct GemmOptions {
  // Adds to what C holds.
  bool accumulate = false;
  // Rounds A and B to bfloat16 (to nearest, ties to even) before, and C after the product; sums are float32.
  bool round_to_bfloat16 = false;
  // Added to each row of C, after rounding: [n], or null.
  const float* bias = nullptr;
};

// C [m, n] = A [m, k] B [k, n]. C lies row by row, `ldc` numbers from row to row.
void Gemm(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c, int64_t ldc,
          const GemmOptions& options = {});
void GemmInThread(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c, int64_t ldc,
                  const GemmOptions& options = {});

// What the product of one block does with C, besides adding the block's product.
struct BlockFinish {
  bool accumulate = false;
  bool round_to_bfloat16 = false;
  const float* bias = nullptr;
};

// The parts for this processor. A is packed in panels of `rows` rows, B in panels of `columns` columns; panels that the
// matrix does not fill are filled with zeros. A block of k has at most kGemmDepth: the panels then fit the first cache.
struct GemmPieces {
  int rows;
  int columns;
  // Numbers in a packed A [m, k], and in a packed B [k, n].
  int64_t PackedA(int64_t m, int64_t k) const { return (m + rows - 1) / rows * rows * k; }
  int64_t PackedB(int64_t k, int64_t n) const { return (n + columns - 1) / columns * columns * k; }
  // `packed` is aligned to 64 bytes. Panels follow each other; in a panel, k steps of `rows` or `columns` numbers.
  void (*pack_a)(int64_t m, int64_t k, const Matrix& a, bool round_to_bfloat16, float* packed);
  void (*pack_b)(int64_t k, int64_t n, const Matrix& b, bool round_to_bfloat16, float* packed);
  // C [m, n] = A B (+ C) from packed blocks.
  void (*multiply)(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float* c, int64_t ldc,
                   const BlockFinish& finish);
};

constexpr int64_t kGemmDepth = 256;

const GemmPieces& Pieces();

// Memory for packed blocks, aligned to 64 bytes and reused from call to call.
class PackingBuffer {
 public:
  explicit PackingBuffer(int64_t floats);
  ~PackingBuffer();
  PackingBuffer(const PackingBuffer&) = delete;
  PackingBuffer& operator=(const PackingBuffer&) = delete;
  float* data() const { return data_; }

 private:
  float* data_;
  int64_t floats_;
};

}  // namespace mg
