// A token for each row of logits, drawn by the Gumbel-max trick: argmax(log p - log(-log u)) is a draw from p.
//
// Only the order of log p + noise matters, so nothing is normalized: log p is the logit over the temperature, and only the tokens
// that top_k or top_p leaves are looked at.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "op.h"
#include "parallel.h"

namespace mg {
namespace {

// Numbers of so many tokens are one thread's work.
constexpr int64_t kGrain = 1 << 13;

float Gumbel(float u) { return -std::log(-std::log(std::max(u, 1e-20f))); }

// logits and uniform [..., C] -> [...].
struct SampleToken {
  explicit SampleToken(const Attributes& attributes)
      : temperature(attributes.Float("temperature")), top_k(attributes.Int("top_k")), top_p(attributes.Float("top_p")) {}

  void Compute(Call& call) {
    const TensorView logits = call.Input(0), uniform = call.Input(1);
    Shape shape = logits.shape();
    const int64_t card = shape.back();
    shape.pop_back();
    const TensorView token = call.Output(0, shape, TF_INT32);
    ParallelFor(token.size(), std::max<int64_t>(1, kGrain / card), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const float* x = logits.floats() + row * card;
        const float* u = uniform.floats() + row * card;
        token.ints()[row] = top_p > 0 ? AmongMass(x, u, card) : AmongMostLikely(x, u, card);
      }
    });
  }

 private:
  // The k most likely, and what is as likely as the k-th; all when k is 0.
  int32_t AmongMostLikely(const float* x, const float* u, int64_t card) const {
    float lowest = -INFINITY;
    if (top_k > 0 && top_k < card) {
      std::vector<float> sorted(x, x + card);
      std::nth_element(sorted.begin(), sorted.begin() + (top_k - 1), sorted.end(), std::greater<float>());
      lowest = sorted[top_k - 1];
    }
    int32_t best = 0;
    float highest = -INFINITY;
    for (int64_t i = 0; i < card; i++) {
      if (x[i] < lowest) continue;
      const float score = x[i] / temperature + Gumbel(u[i]);
      if (score > highest) {
        highest = score;
        best = static_cast<int32_t>(i);
      }
    }
    return best;
  }

  // The most likely up to and with the one at which their probability passes p. The noise goes by their order.
  int32_t AmongMass(const float* x, const float* u, int64_t card) const {
    std::vector<int32_t> order(card);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return x[a] > x[b]; });
    const float top = x[order[0]] / temperature;
    double total = 0;
    for (int64_t i = 0; i < card; i++) total += std::exp(x[i] / temperature - top);
    double mass = 0;
    int32_t best = order[0];
    float highest = -INFINITY;
    for (int64_t i = 0; i < card && mass <= top_p * total; i++) {
      const float logit = x[order[i]] / temperature;
      const float score = logit + Gumbel(u[i]);
      if (score > highest) {
        highest = score;
        best = order[i];
      }
      mass += std::exp(logit - top);
    }
    return best;
  }

  float temperature;
  int64_t top_k;
  float top_p;
};

const bool registered = RegisterOp<SampleToken>("MgSampleToken", {"logits: float", "uniform: float"}, {"token: int32"},
                                                {"temperature: float", "top_k: int", "top_p: float"});

}  // namespace
}  // namespace mg
