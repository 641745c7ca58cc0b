// The search of vector quantization: of each vector the nearest entry of a codebook, by (|x|^2 - 2 x.e) + |e|^2 in float32.
// The products are a matrix product, of which a few rows at a time are computed and searched. Leaving |x|^2 out, which is the
// same for all entries, would be more exact, but would tell apart what is equally near in the originals' arithmetic.
#include <algorithm>
#include <cmath>
#include <vector>

#include "gemm.h"
#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

MG_VECTORIZED float SquareSum(const float* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += static_cast<double>(x[i]) * x[i];
  return static_cast<float>(sum);
}

// The first of the largest. Eight lanes look for theirs, then the best lane is found.
MG_VECTORIZED int32_t ArgMax(const float* scores, int64_t n) {
  constexpr int kLanes = 8;
  float best[kLanes];
  int32_t where[kLanes];
  for (int j = 0; j < kLanes; j++) {
    best[j] = -INFINITY;
    where[j] = 0;
  }
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; j++) {
      const bool better = scores[i + j] > best[j];
      best[j] = better ? scores[i + j] : best[j];
      where[j] = better ? static_cast<int32_t>(i + j) : where[j];
    }
  float largest = best[0];
  int32_t first = where[0];
  for (int j = 1; j < kLanes; j++)
    if (best[j] > largest || (best[j] == largest && where[j] < first)) {
      largest = best[j];
      first = where[j];
    }
  for (; i < n; i++)
    if (scores[i] > largest) {
      largest = scores[i];
      first = static_cast<int32_t>(i);
    }
  return first;
}

// Products with the entries -> the distances, negated.
MG_VECTORIZED void NegateDistances(float own, const float* theirs, float* scores, int64_t n) {
  MG_ELEMENTWISE
  for (int64_t i = 0; i < n; i++) scores[i] = -((own - 2.0f * scores[i]) + theirs[i]);
}

// vectors [N, D], entries [M, D] -> [N] indexes of entries, the first of equally near ones
struct Nearest {
  explicit Nearest(const Attributes&) {}

  void Compute(Call& call) {
    const TensorView vectors = call.Input(0), entries = call.Input(1);
    const int64_t count = vectors.dim(0), depth = vectors.dim(1), n = entries.dim(0);
    const TensorView indexes = call.Output(0, {count}, TF_INT32);
    std::vector<float> norms(n);
    ParallelFor(n, 256, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) norms[i] = SquareSum(entries.floats() + i * depth, depth);
    });
    const GemmPieces& pieces = Pieces();
    const int64_t width = (n + pieces.columns - 1) / pieces.columns * pieces.columns;
    const PackingBuffer packed(width * depth);
    ParallelFor(width / pieces.columns, 4, [&](int64_t begin, int64_t end) {
      const int64_t first = begin * pieces.columns, columns = std::min(n, end * pieces.columns) - first;
      for (int64_t from = 0; from < depth; from += kGemmDepth) {
        const int64_t deep = std::min(kGemmDepth, depth - from);
        pieces.pack_b(deep, columns, Transposed(entries.floats() + first * depth + from, depth), false,
                      packed.data() + from * width + first * deep);
      }
    });
    const int64_t block = pieces.rows * 4;
    ParallelFor((count + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
      const PackingBuffer scores(block * n), rows(pieces.PackedA(block, std::min(depth, kGemmDepth)));
      for (int64_t i = begin; i < end; i++) {
        const int64_t first = i * block, here = std::min(block, count - first);
        for (int64_t from = 0; from < depth; from += kGemmDepth) {
          const int64_t deep = std::min(kGemmDepth, depth - from);
          pieces.pack_a(here, deep, RowMajor(vectors.floats() + first * depth + from, depth), false, rows.data());
          const BlockFinish finish{from > 0, false, nullptr};
          pieces.multiply(here, n, deep, rows.data(), packed.data() + from * width, scores.data(), n, finish);
        }
        for (int64_t r = 0; r < here; r++) {
          NegateDistances(SquareSum(vectors.floats() + (first + r) * depth, depth), norms.data(), scores.data() + r * n, n);
          indexes.ints()[first + r] = ArgMax(scores.data() + r * n, n);
        }
      }
    });
  }
};

const bool nearest = RegisterOp<Nearest>("MgNearest", {"vectors: float", "entries: float"}, {"indexes: int32"});

}  // namespace
}  // namespace mg
