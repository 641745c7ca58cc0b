// Softmax cross entropy, averaged over the rows that count, and its gradient. Forward reads the logits once and keeps two numbers a
// row; backward turns the logits into their gradient, in their own memory where nobody else needs them.
#include <cmath>
#include <cstring>
#include <limits>

#include "exponential.h"
#include "lanes.h"
#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

constexpr int64_t kGrain = 1 << 15;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Sets stats to the row's maximum and 1 / sum e^(x - max), and returns -log softmax(x)[label].
MG_VECTORIZED float ForwardRow(const float* x, int32_t label, float* stats, int64_t classes) {
  constexpr int kBlock = 8 * kLanes;
  const float largest = RowMax(x, classes);
  Lanes sums = {};
  float terms[kBlock];
  int64_t i = 0;
  for (; i + kBlock <= classes; i += kBlock) {
    for (int j = 0; j < kBlock; j++) terms[j] = Exp(x[i + j] - largest);
    for (int j = 0; j < kBlock; j += kLanes) sums += Load(terms + j);
  }
  float sum = Total(sums);
  for (; i < classes; i++) sum += Exp(x[i] - largest);
  stats[0] = largest;
  stats[1] = 1.0f / sum;
  return label < 0 || label >= classes ? kNaN : std::log(sum) - (x[label] - largest);
}

// (softmax(x) - onehot(label)) factor; dx may be x.
MG_VECTORIZED void BackwardRow(const float* x, int32_t label, const float* stats, float factor, float* dx, int64_t classes) {
  const float largest = stats[0], scale = stats[1] * factor;
  MG_ELEMENTWISE
  for (int64_t i = 0; i < classes; i++) dx[i] = Exp(x[i] - largest) * scale;
  if (label >= 0 && label < classes) dx[label] -= factor;
}

double Count(const TensorView& weights) {
  double count = 0;
  for (int64_t i = 0; i < weights.size(); i++) count += weights.floats()[i];
  return count < 1 ? 1 : count;
}

// logits [N, C], labels [N], weights [N] -> loss [], stats [N, 2]. Rows of weight 0 are not looked at.
struct CrossEntropy {
  explicit CrossEntropy(const Attributes&) {}
  void Compute(Call& call) {
    const TensorView logits = call.Input(0), labels = call.Input(1), weights = call.Input(2);
    const int64_t rows = weights.size(), classes = logits.dim(-1);
    const TensorView loss = call.Output(0, {}), stats = call.Output(1, {rows, 2}), losses = call.Scratch({rows});
    ParallelFor(rows, 1 + kGrain / classes, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const float weight = weights.floats()[row];
        float* const kept = stats.floats() + 2 * row;
        kept[0] = kept[1] = 0;
        losses.floats()[row] =
            weight == 0 ? 0 : weight * ForwardRow(logits.floats() + row * classes, labels.ints()[row], kept, classes);
      }
    });
    double sum = 0;
    for (int64_t row = 0; row < rows; row++) sum += losses.floats()[row];
    *loss.floats() = static_cast<float>(sum / Count(weights));
  }
};

// dy [], logits [N, C], labels [N], weights [N], stats [N, 2] -> the gradient of the logits
struct CrossEntropyGrad {
  explicit CrossEntropyGrad(const Attributes&) {}
  void Compute(Call& call) {
    const TensorView gradient = call.OutputInPlaceOf({1}, 0, call.InputShape(1));
    const TensorView logits = call.Input(1), labels = call.Input(2), weights = call.Input(3), stats = call.Input(4);
    const int64_t rows = weights.size(), classes = logits.dim(-1);
    const float dy = static_cast<float>(*call.Input(0).floats() / Count(weights));
    ParallelFor(rows, 1 + kGrain / classes, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        float* const dx = gradient.floats() + row * classes;
        const float weight = weights.floats()[row];
        if (weight == 0) std::memset(dx, 0, 4 * classes);
        else BackwardRow(logits.floats() + row * classes, labels.ints()[row], stats.floats() + 2 * row, weight * dy, dx, classes);
      }
    });
  }
};

const bool forward = RegisterOp<CrossEntropy>("MgCrossEntropy", {"logits: float", "labels: int32", "weights: float"},
                                              {"loss: float", "stats: float"});
const bool backward = RegisterOp<CrossEntropyGrad>(
    "MgCrossEntropyGrad", {"dy: float", "logits: float", "labels: int32", "weights: float", "stats: float"}, {"dlogits: float"});

}  // namespace
}  // namespace mg
