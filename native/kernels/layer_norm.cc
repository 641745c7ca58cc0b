// Layer norm y = (x - mean) rstd gamma + beta and RMS norm y = x rstd gamma over the last axis, with their gradients, a pass each.
// With n = (x - mean) rstd and dn = dy gamma: dx = rstd (dn - mean(dn) - n mean(dn n)), dgamma = sum dy n, dbeta = sum dy;
// RMS norm lacks the means of x and dn.
#include <cmath>
#include <cstring>

#include "lanes.h"
#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

// Rows whose shares of dgamma and dbeta are summed first. A constant, so that results do not depend on the number of threads.
constexpr int64_t kBlock = 64;

MG_VECTORIZED void ForwardRow(const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* mean,
                              float* rstd, int64_t dim) {
  float m = 0, r;
  if (beta != nullptr) {
    m = RowSum(x, dim) / dim;
    r = 1.0f / std::sqrt(RowVariation(x, m, dim) / dim + epsilon);
    MG_ELEMENTWISE
    for (int64_t i = 0; i < dim; i++) y[i] = (x[i] - m) * r * gamma[i] + beta[i];
    *mean = m;
  } else {
    r = 1.0f / std::sqrt(RowSquares(x, dim) / dim + epsilon);
    MG_ELEMENTWISE
    for (int64_t i = 0; i < dim; i++) y[i] = x[i] * r * gamma[i];
  }
  *rstd = r;
}

// Adds the row's shares to dgamma and, of a layer norm, dbeta. dx may be dy.
MG_VECTORIZED void BackwardRow(const float* dy, const float* x, const float* gamma, float mean, float rstd, float* dx,
                               float* dgamma, float* dbeta, int64_t dim) {
  Lanes sums = {}, products = {};
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    const Lanes d = Load(dy + i), n = (Load(x + i) - mean) * rstd, dn = d * Load(gamma + i);
    sums += dn;
    products += dn * n;
  }
  float sum = Total(sums), product = Total(products);
  for (; i < dim; i++) {
    const float dn = dy[i] * gamma[i];
    sum += dn;
    product += dn * ((x[i] - mean) * rstd);
  }
  sum = dbeta == nullptr ? 0 : sum / dim;
  product /= dim;
  MG_ELEMENTWISE
  for (int64_t j = 0; j < dim; j++) {
    const float d = dy[j], n = (x[j] - mean) * rstd;
    dgamma[j] += d * n;
    dx[j] = rstd * (d * gamma[j] - sum - n * product);
    if (dbeta != nullptr) dbeta[j] += d;
  }
}

MG_VECTORIZED void AddTo(float* sum, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; i++) sum[i] += x[i];
}

// x [..., D], gamma [D] (, beta [D]) -> y as x (, mean), rstd [rows]
template <bool has_mean>
struct Norm {
  explicit Norm(const Attributes& attributes) : epsilon(attributes.Float("epsilon")) {}
  void Compute(Call& call) {
    const TensorView x = call.Input(0), gamma = call.Input(1);
    const TensorView beta = has_mean ? call.Input(2) : TensorView();
    const int64_t dim = x.dim(-1), rows = dim == 0 ? 0 : x.size() / dim;
    const TensorView y = call.Output(0, x.shape());
    const TensorView mean = has_mean ? call.Output(1, {rows}) : TensorView();
    const TensorView rstd = call.Output(has_mean ? 2 : 1, {rows});
    float* const means = has_mean ? mean.floats() : nullptr;
    ParallelFor(rows, 1 + (1 << 14) / (dim + 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++)
        ForwardRow(x.floats() + row * dim, gamma.floats(), has_mean ? beta.floats() : nullptr, epsilon,
                   y.floats() + row * dim, means + (has_mean ? row : 0), rstd.floats() + row, dim);
    });
  }
  const float epsilon;
};

// dy, x [..., D], gamma [D] (, mean), rstd [rows] -> dx as x, dgamma [D] (, dbeta [D])
template <bool has_mean>
struct NormGrad {
  explicit NormGrad(const Attributes&) {}
  void Compute(Call& call) {
    const TensorView dx = call.OutputInPlaceOf({0}, 0, call.InputShape(0));
    const TensorView dy = call.Input(0), x = call.Input(1), gamma = call.Input(2);
    const TensorView mean = has_mean ? call.Input(3) : TensorView();
    const TensorView rstd = call.Input(has_mean ? 4 : 3);
    const int64_t dim = x.dim(-1), rows = dim == 0 ? 0 : x.size() / dim, blocks = (rows + kBlock - 1) / kBlock;
    const int64_t width = has_mean ? 2 * dim : dim;
    const TensorView dgamma = call.Output(1, {dim});
    const TensorView dbeta = has_mean ? call.Output(2, {dim}) : TensorView();
    const TensorView shares = call.Scratch({blocks, width});
    ParallelFor(blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; block++) {
        float* const share = shares.floats() + block * width;
        std::memset(share, 0, 4 * width);
        for (int64_t row = block * kBlock; row < rows && row < (block + 1) * kBlock; row++)
          BackwardRow(dy.floats() + row * dim, x.floats() + row * dim, gamma.floats(), has_mean ? mean.floats()[row] : 0,
                      rstd.floats()[row], dx.floats() + row * dim, share, has_mean ? share + dim : nullptr, dim);
      }
    });
    std::memset(dgamma.floats(), 0, 4 * dim);
    if (has_mean) std::memset(dbeta.floats(), 0, 4 * dim);
    for (int64_t block = 0; block < blocks; block++) {
      AddTo(dgamma.floats(), shares.floats() + block * width, dim);
      if (has_mean) AddTo(dbeta.floats(), shares.floats() + block * width + dim, dim);
    }
  }
};

const bool layer_norm = RegisterOp<Norm<true>>("MgLayerNorm", {"x: float", "gamma: float", "beta: float"},
                                               {"y: float", "mean: float", "rstd: float"}, {"epsilon: float"});
const bool layer_norm_grad =
    RegisterOp<NormGrad<true>>("MgLayerNormGrad", {"dy: float", "x: float", "gamma: float", "mean: float", "rstd: float"},
                               {"dx: float", "dgamma: float", "dbeta: float"});
const bool rms_norm =
    RegisterOp<Norm<false>>("MgRmsNorm", {"x: float", "gamma: float"}, {"y: float", "rstd: float"}, {"epsilon: float"});
const bool rms_norm_grad = RegisterOp<NormGrad<false>>(
    "MgRmsNormGrad", {"dy: float", "x: float", "gamma: float", "rstd: float"}, {"dx: float", "dgamma: float"});

}  // namespace
}  // namespace mg
