// Products of a few rows with a large weight matrix, for generation: y = x W^T (+ bias). Each weight is read once, as it lies in
// memory, which is what such a product takes time for; so there are weights of 16 and 8 bits.
#pragma once

#include <cstdint>

namespace mg {

// From this many rows on Gemm is faster, which packs the weights, and rounds them once.
constexpr int64_t ManyRows(bool round_to_bfloat16) { return round_to_bfloat16 ? 9 : 25; }

enum class WeightType { kFloat32, kBfloat16, kInt8 };

// W [n, k] row by row. Numbers of 8 bits stand for number * scales[row].
struct Weights {
  const void* data;
  WeightType type;
  const float* scales;
  // The numbers of row `row` on; k is the length of a row.
  Weights From(int64_t row, int64_t k) const;
};

// y [m, n] = x [m, k] W^T + bias, shared among the threads. Row i of x is at x + i * ldx, of y at y + i * ldy; bias [n] or null.
// `round_to_bfloat16` rounds x, float32 weights, and the product before the bias is added.
void MultiplyRows(int64_t m, int64_t n, int64_t k, const float* x, int64_t ldx, const Weights& weights, const float* bias,
                  bool round_to_bfloat16, float* y, int64_t ldy);

// The same within the calling thread. Kernels that share out a larger work call it for a range of W's rows (Weights::From).
void MultiplyRowsInThread(int64_t m, int64_t n, int64_t k, const float* x, int64_t ldx, const Weights& weights,
                          const float* bias, bool round_to_bfloat16, float* y, int64_t ldy);

// The weights as float32: n rows of k numbers.
void ConvertWeights(int64_t n, int64_t k, const Weights& weights, float* target);

}  // namespace mg
