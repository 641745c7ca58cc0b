// GELU and its gradient, each in one pass: y = x Phi(x), dx = dy (Phi(x) + x phi(x)).
#include <cmath>

#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

constexpr int64_t kGrain = 1 << 14;

MG_VECTORIZED void Forward(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = 0.5f * x[i] * (1.0f + std::erf(x[i] * static_cast<float>(M_SQRT1_2)));
}

struct Gelu {
  explicit Gelu(const Attributes&) {}
  void Compute(Call& call) {
    const TensorView x = call.Input(0);
    const TensorView y = call.Output(0, x.shape());
    ParallelFor(x.size(), kGrain, [&](int64_t begin, int64_t end) {
      Forward(x.floats() + begin, y.floats() + begin, end - begin);
    });
  }
};

const bool gelu = RegisterOp<Gelu>("MgGelu", {"x: float"}, {"y: float"});

}  // namespace
}  // namespace mg
