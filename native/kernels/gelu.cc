// GELU and its gradient, each in one pass: y = x Phi(x), dx = dy (Phi(x) + x phi(x)). Phi is exact to float32 (no tanh).
#include "exponential.h"
#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

constexpr int64_t kGrain = 1 << 14;
constexpr float kInverseRoot2Pi = 0.3989422804014327f;

MG_VECTORIZED void Forward(const float* x, float* y, int64_t n) {
  MG_ELEMENTWISE
  for (int64_t i = 0; i < n; i++) {
    const float v = x[i];
    const float tail = ScaledTail(v < 0 ? -v : v) * Exp(-0.5f * v * v);
    y[i] = v * (v < 0 ? tail : 1.0f - tail);
  }
}

MG_VECTORIZED void Backward(const float* dy, const float* x, float* dx, int64_t n) {
  MG_ELEMENTWISE
  for (int64_t i = 0; i < n; i++) {
    const float v = x[i];
    const float e = Exp(-0.5f * v * v);
    const float tail = ScaledTail(v < 0 ? -v : v) * e;
    dx[i] = dy[i] * ((v < 0 ? tail : 1.0f - tail) + v * kInverseRoot2Pi * e);
  }
}

struct Gelu {
  explicit Gelu(const Attributes&) {}
  void Compute(Call& call) {
    const TensorView y = call.OutputInPlaceOf({0}, 0, call.InputShape(0));
    const TensorView x = call.Input(0);
    ParallelFor(x.size(), kGrain, [&](int64_t begin, int64_t end) {
      Forward(x.floats() + begin, y.floats() + begin, end - begin);
    });
  }
};

struct GeluGrad {
  explicit GeluGrad(const Attributes&) {}
  void Compute(Call& call) {
    const TensorView dx = call.OutputInPlaceOf({0, 1}, 0, call.InputShape(0));
    const TensorView dy = call.Input(0), x = call.Input(1);
    ParallelFor(x.size(), kGrain, [&](int64_t begin, int64_t end) {
      Backward(dy.floats() + begin, x.floats() + begin, dx.floats() + begin, end - begin);
    });
  }
};

const bool gelu = RegisterOp<Gelu>("MgGelu", {"x: float"}, {"y: float"});
const bool gelu_grad = RegisterOp<GeluGrad>("MgGeluGrad", {"dy: float", "x: float"}, {"dx: float"});

}  // namespace
}  // namespace mg
