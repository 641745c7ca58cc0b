// Rotary embedding of projections side by side: neighbours (x_2j, x_2j+1) of the heads of queries and of keys are rotated, what
// comes behind them (values) stays. x [B, S, ...] -> the same; tables [S, Dh]: factors of each value, and of the other of its pair.
#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

// y_2j = x_2j own_2j + x_2j+1 other_2j and likewise for y_2j+1. Transposed, for gradients, the partner's `other` counts.
MG_VECTORIZED void Rotate(const float* x, const float* own, const float* other, bool transposed, float* y, int64_t heads,
                          int64_t dim) {
  const int first = transposed ? 1 : 0, second = 1 - first;
  for (int64_t head = 0; head < heads; head++, x += dim, y += dim) {
    for (int64_t j = 0; j < dim; j += 2) {
      const float a = x[j], b = x[j + 1];
      y[j] = a * own[j] + b * other[j + first];
      y[j + 1] = b * own[j + 1] + a * other[j + second];
    }
  }
}

struct Rope {
  explicit Rope(const Attributes& attributes)
      : heads(attributes.Int("heads")), kv_heads(attributes.Int("kv_heads")), transposed(attributes.Bool("transposed")) {}

  void Compute(Call& call) {
    const TensorView x = call.Input(0);
    const TensorView tables[] = {call.Input(1), call.Input(2), call.Input(3), call.Input(4)};
    const int64_t steps = x.dim(1), width = x.dim(2), dim = tables[0].dim(1);
    for (const TensorView& table : tables)
      if (table.dim(0) != steps || table.dim(1) != dim) throw std::invalid_argument("rope: tables of different shapes");
    const int64_t rotated = (heads + kv_heads) * dim;
    if (rotated > width || dim % 2 != 0) throw std::invalid_argument("rope: the heads do not fit the width");
    const TensorView y = call.OutputInPlaceOf({0}, 0, x.shape());
    ParallelFor(x.dim(0) * steps, std::max<int64_t>(1, (1 << 14) / width), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const float* from = x.floats() + row * width;
        float* to = y.floats() + row * width;
        const int64_t at = row % steps * dim;
        Rotate(from, tables[0].floats() + at, tables[1].floats() + at, transposed, to, heads, dim);
        Rotate(from + heads * dim, tables[2].floats() + at, tables[3].floats() + at, transposed, to + heads * dim, kv_heads, dim);
        if (to != from && width > rotated) std::memcpy(to + rotated, from + rotated, (width - rotated) * sizeof(float));
      }
    });
  }

  int64_t heads, kv_heads;
  bool transposed;
};

const bool rope = RegisterOp<Rope>(
    "MgRope", {"x: float", "own_q: float", "other_q: float", "own_k: float", "other_k: float"}, {"y: float"},
    {"heads: int", "kv_heads: int", "transposed: bool"});

}  // namespace
}  // namespace mg
