// Updates of weights that read and write each of their arrays once, in place: Adam (PyTorch's arithmetic) and D-Adaptation's
// two halves (see src/optim).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "lanes.h"
#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

// Also the unit of sums, so that these do not depend on the number of threads.
constexpr int64_t kGrain = 1 << 14;

// A value before and after, usually in the same place.
struct Updated {
  const float* old;
  float* now;
};

// Input `in` with output `out` as its new value: in its memory, unless somebody else still holds it (a snapshot).
class InPlace {
 public:
  InPlace(Call& call, int in, int out) : now_(call.OutputInPlaceOf({in}, out, call.InputShape(in))), old_(call.Input(in)) {}
  Updated at(int64_t i) const { return {old_.floats() + i, now_.floats() + i}; }
  int64_t size() const { return old_.size(); }

 private:
  TensorView now_, old_;
};

struct AdamStep {
  float scale;            // of the gradient
  float l2;               // weight decay as a part of the gradient
  float keep;             // what decoupled weight decay leaves of the weight
  float rate, epsilon;    // with both bias corrections
  float beta1, beta2, rest1, rest2;
};

MG_VECTORIZED void Adam(const AdamStep& step, const float* gradient, Updated weight, Updated m, Updated v, int64_t n) {
  const AdamStep s = step;
  MG_ELEMENTWISE
  for (int64_t i = 0; i < n; i++) {
    const float w = weight.old[i], g = gradient[i] * s.scale + s.l2 * w;
    const float m1 = m.old[i] + (g - m.old[i]) * s.rest1;
    const float v1 = v.old[i] * s.beta2 + s.rest2 * (g * g);
    m.now[i] = m1;
    v.now[i] = v1;
    weight.now[i] = w * s.keep - s.rate * (m1 / (std::sqrt(v1) + s.epsilon));
  }
}

struct AdamUpdate {
  explicit AdamUpdate(const Attributes& attributes) {
    step.l2 = attributes.Float("l2");
    step.beta1 = attributes.Float("beta1"), step.beta2 = attributes.Float("beta2");
    step.rest1 = attributes.Float("rest1"), step.rest2 = attributes.Float("rest2");
  }
  void Compute(Call& call) {
    AdamStep now = step;
    now.scale = *call.Input(4).floats();
    now.rate = *call.Input(5).floats();
    now.keep = 1.0f - *call.Input(6).floats();
    now.epsilon = *call.Input(7).floats();
    const TensorView gradient = call.Input(3);
    const InPlace weight(call, 0, 0), m(call, 1, 1), v(call, 2, 2);
    ParallelFor(gradient.size(), kGrain, [&](int64_t begin, int64_t end) {
      Adam(now, gradient.floats() + begin, weight.at(begin), m.at(begin), v.at(begin), end - begin);
    });
  }
  AdamStep step{};
};

struct DAdaptStep {
  float scale, l2, rate, epsilon;
  float beta1, beta2, rest1, rest2;
};

struct DAdaptSums {
  float gsq, sksq, sk1;
};

// Of `count` values, at most kLanes: the new moments, and the terms of the three sums.
MG_INLINE void DAdaptTerms(const DAdaptStep& a, float rate1, float rate2, const float* gradient, const float* weight, Updated s,
                           Updated m, Updated v, float (*terms)[kLanes], int count) {
  MG_ELEMENTWISE
  for (int j = 0; j < count; j++) {
    const float g = gradient[j] * a.scale + a.l2 * weight[j];
    const float m1 = m.old[j] * a.beta1 + g * rate1;
    const float v1 = v.old[j] * a.beta2 + a.rest2 * (g * g);
    const float s1 = s.old[j] * a.beta2 + g * rate2;
    m.now[j] = m1;
    v.now[j] = v1;
    s.now[j] = s1;
    const float inverse = 1.0f / (std::sqrt(v1) + a.epsilon);
    terms[0][j] = g * g * inverse;
    terms[1][j] = s1 * s1 * inverse;
    terms[2][j] = std::fabs(s1);
  }
}

MG_VECTORIZED void DAdaptMoments(const DAdaptStep& step, const float* gradient, const float* weight, Updated s, Updated m,
                                 Updated v, DAdaptSums* sums, int64_t n) {
  const DAdaptStep a = step;
  const float rate1 = a.rate * a.rest1, rate2 = a.rate * a.rest2;
  Lanes gsq = {}, sksq = {}, sk1 = {};
  float terms[3][kLanes];
  for (int64_t i = 0; i < n; i += kLanes) {
    const Updated si = {s.old + i, s.now + i}, mi = {m.old + i, m.now + i}, vi = {v.old + i, v.now + i};
    if (i + kLanes <= n) {
      DAdaptTerms(a, rate1, rate2, gradient + i, weight + i, si, mi, vi, terms, kLanes);
    } else {
      std::memset(terms, 0, sizeof(terms));
      DAdaptTerms(a, rate1, rate2, gradient + i, weight + i, si, mi, vi, terms, static_cast<int>(n - i));
    }
    gsq += Load(terms[0]), sksq += Load(terms[1]), sk1 += Load(terms[2]);
  }
  *sums = {Total(gsq), Total(sksq), Total(sk1)};
}

// s, m, v, weight, gradient, scale, rate -> s, m and v after the update, and the sums of g^2 / (sqrt(v) + eps),
// s^2 / (sqrt(v) + eps) and |s|
struct DAdaptMomentsUpdate {
  explicit DAdaptMomentsUpdate(const Attributes& attributes) {
    step.l2 = attributes.Float("l2"), step.epsilon = attributes.Float("epsilon");
    step.beta1 = attributes.Float("beta1"), step.beta2 = attributes.Float("beta2");
    step.rest1 = attributes.Float("rest1"), step.rest2 = attributes.Float("rest2");
  }
  void Compute(Call& call) {
    DAdaptStep now = step;
    now.scale = *call.Input(5).floats();
    now.rate = *call.Input(6).floats();
    const TensorView weight = call.Input(3), gradient = call.Input(4);
    const InPlace s(call, 0, 0), m(call, 1, 1), v(call, 2, 2);
    const int64_t blocks = (gradient.size() + kGrain - 1) / kGrain;
    std::vector<DAdaptSums> parts(blocks);
    ParallelFor(blocks, 1, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; block++) {
        const int64_t begin = block * kGrain, end = std::min(begin + kGrain, gradient.size());
        DAdaptMoments(now, gradient.floats() + begin, weight.floats() + begin, s.at(begin), m.at(begin), v.at(begin),
                      &parts[block], end - begin);
      }
    });
    double gsq = 0, sksq = 0, sk1 = 0;
    for (const DAdaptSums& part : parts) gsq += part.gsq, sksq += part.sksq, sk1 += part.sk1;
    *call.Output(3, {}).floats() = gsq;
    *call.Output(4, {}).floats() = sksq;
    *call.Output(5, {}).floats() = sk1;
  }
  DAdaptStep step{};
};

MG_VECTORIZED void DAdaptMove(float shrink, float step, float epsilon, Updated weight, const float* m, const float* v, int64_t n) {
  MG_ELEMENTWISE
  for (int64_t i = 0; i < n; i++)
    weight.now[i] = weight.old[i] - step * (shrink * weight.old[i] + m[i] / (std::sqrt(v[i]) + epsilon));
}

// weight, m, v, shrink, step -> weight - step (shrink weight + m / (sqrt(v) + eps))
struct DAdaptWeights {
  explicit DAdaptWeights(const Attributes& attributes) : epsilon(attributes.Float("epsilon")) {}
  void Compute(Call& call) {
    const float shrink = *call.Input(3).floats(), step = *call.Input(4).floats();
    const InPlace weight(call, 0, 0);
    const TensorView m = call.Input(1), v = call.Input(2);
    ParallelFor(m.size(), kGrain, [&](int64_t begin, int64_t end) {
      DAdaptMove(shrink, step, epsilon, weight.at(begin), m.floats() + begin, v.floats() + begin, end - begin);
    });
  }
  const float epsilon;
};

MG_VECTORIZED void Average(float weight, const float* value, Updated average, int64_t n) {
  const float keep = 1.0f - weight;
  MG_ELEMENTWISE
  for (int64_t i = 0; i < n; i++) average.now[i] = average.old[i] * keep + value[i] * weight;
}

// average, value, weight -> average (1 - weight) + value weight
struct MovingAverage {
  explicit MovingAverage(const Attributes&) {}
  void Compute(Call& call) {
    const InPlace average(call, 0, 0);
    const TensorView value = call.Input(1);
    const float weight = *call.Input(2).floats();
    ParallelFor(value.size(), kGrain, [&](int64_t begin, int64_t end) {
      Average(weight, value.floats() + begin, average.at(begin), end - begin);
    });
  }
};

MG_VECTORIZED float Squares(const float* x, int64_t n) { return RowSquares(x, n); }

// The 2-norm of all inputs together. Blocks are summed in float32, and these in double precision.
struct GlobalNorm {
  explicit GlobalNorm(const Attributes&) {}
  void Compute(Call& call) {
    struct Block {
      const float* begin;
      int64_t size;
    };
    std::vector<TensorView> tensors;
    std::vector<Block> blocks;
    for (int i = 0; i < call.inputs(); i++) {
      tensors.push_back(call.Input(i));
      const int64_t size = tensors.back().size();
      for (int64_t from = 0; from < size; from += kGrain)
        blocks.push_back({tensors.back().floats() + from, std::min(kGrain, size - from)});
    }
    std::vector<float> sums(blocks.size());
    ParallelFor(blocks.size(), 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) sums[i] = Squares(blocks[i].begin, blocks[i].size);
    });
    double sum = 0;
    for (const float square : sums) sum += square;
    *call.Output(0, {}).floats() = static_cast<float>(std::sqrt(sum));
  }
};

const std::vector<const char*> kBetas = {"beta1: float", "beta2: float", "rest1: float", "rest2: float", "l2: float"};
const std::vector<const char*> kBetasAndEpsilon = {"beta1: float", "beta2: float", "rest1: float",
                                                   "rest2: float", "l2: float",    "epsilon: float"};

const bool adam = RegisterOp<AdamUpdate>("MgAdam",
                                         {"weight: float", "exp_avg: float", "exp_avg_sq: float", "gradient: float",
                                          "scale: float", "rate: float", "decay: float", "epsilon: float"},
                                         {"new_weight: float", "new_exp_avg: float", "new_exp_avg_sq: float"}, kBetas);
const bool moments = RegisterOp<DAdaptMomentsUpdate>(
    "MgDAdaptMoments",
    {"s: float", "exp_avg: float", "exp_avg_sq: float", "weight: float", "gradient: float", "scale: float", "rate: float"},
    {"new_s: float", "new_exp_avg: float", "new_exp_avg_sq: float", "gsq: float", "sksq: float", "sk1: float"},
    kBetasAndEpsilon);
const bool weights = RegisterOp<DAdaptWeights>(
    "MgDAdaptWeights", {"weight: float", "exp_avg: float", "exp_avg_sq: float", "shrink: float", "step: float"},
    {"new_weight: float"}, {"epsilon: float"});
const bool average = RegisterOp<MovingAverage>("MgMovingAverage", {"average: float", "value: float", "weight: float"},
                                               {"new_average: float"});
const bool norm = RegisterOp<GlobalNorm>("MgGlobalNorm", {"x: N * float"}, {"norm: float"}, {"N: int >= 1"});

}  // namespace
}  // namespace mg
