// Attention of a single step of generation, in one pass over the keys and one over the values.
//
// The keys and values of the steps so far stand in a cache [2, B, Hkv, capacity, Dh], of which only the filled part is touched: a
// step costs what its past costs, whatever the capacity. Query head h reads head h / (H / Hkv). The cache is the value of a
// variable of which there is no other reader, and these ops write into that value itself.
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

typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
// Work of less than this many multiply-adds is not worth a second thread.
constexpr int64_t kGrain = 1 << 17;

MG_INLINE float Dot(const float* a, const float* b, int64_t n) {
  Lanes sum0 = {}, sum1 = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    sum0 += Load(a + i) * Load(b + i);
    sum1 += Load(a + i + kLanes) * Load(b + i + kLanes);
  }
  float sum = Total(sum0 + sum1);
  for (; i < n; i++) sum += a[i] * b[i];
  return sum;
}

// e^x for x <= 0, to 2 ulp: 2^n e^r with |r| <= ln 2 / 2 (Cody and Waite's reduction, Taylor's polynomial of degree 7).
MG_INLINE Lanes Exp(Lanes x) {
  const Lanes lowest = Lanes{} - 87.0f;
  x = x < lowest ? lowest : x;
  const Lanes shifted = x * 1.44269504f - 0.5f;
  const Ints n = __builtin_convertvector(shifted, Ints);  // towards zero, which is up
  const Lanes whole = __builtin_convertvector(n, Lanes);
  const Lanes r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  Lanes p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Ints power = (n + 127) << 23;
  Lanes scale;
  std::memcpy(&scale, &power, sizeof scale);
  return p * scale;
}

// scores[0, n) -> e^(score - highest), the rest of the last vector zero; returns their sum.
MG_INLINE float Exponentials(float* scores, int64_t n) {
  float highest = scores[0];
  for (int64_t i = 1; i < n; i++) highest = std::max(highest, scores[i]);
  Lanes sum = {};
  for (int64_t i = n; i % kLanes != 0; i++) scores[i] = -INFINITY;
  for (int64_t i = 0; i < n; i += kLanes) {
    Lanes e = Exp(Load(scores + i) - highest);
    for (int64_t lane = n - i; lane < kLanes; lane++) e[lane] = 0;
    Store(scores + i, e);
    sum += e;
  }
  return Total(sum);
}

// Adds weights [n] times values [n, stride] to y, for V vectors of its columns.
template <int V>
MG_INLINE void WeightedColumns(const float* weights, const float* values, int64_t n, int64_t stride, float factor, float* y) {
  Lanes sums[V] = {};
  for (int64_t j = 0; j < n; j++) {
    const float* row = values + j * stride;
    for (int v = 0; v < V; v++) sums[v] += Load(row + v * kLanes) * weights[j];
  }
  for (int v = 0; v < V; v++) Store(y + v * kLanes, sums[v] * factor);
}

MG_INLINE void WeightedSum(const float* weights, const float* values, int64_t n, int64_t head_dim, float factor, float* y) {
  int64_t d = 0;
  for (; d + 8 * kLanes <= head_dim; d += 8 * kLanes) WeightedColumns<8>(weights, values + d, n, head_dim, factor, y + d);
  for (; d + kLanes <= head_dim; d += kLanes) WeightedColumns<1>(weights, values + d, n, head_dim, factor, y + d);
  for (; d < head_dim; d++) {
    float sum = 0;
    for (int64_t j = 0; j < n; j++) sum += weights[j] * values[j * head_dim + d];
    y[d] = sum * factor;
  }
}

// One query [Dh] to keys and values [n, Dh]: y = softmax(q k^T / sqrt(Dh) + bias) v. `scores` has room for n, rounded up.
MG_VECTORIZED void Attend(const float* query, const float* keys, const float* values, const float* bias, int64_t n,
                          int64_t head_dim, float* scores, float* y) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  for (int64_t j = 0; j < n; j++) scores[j] = Dot(query, keys + j * head_dim, head_dim) * scale;
  if (bias != nullptr)
    for (int64_t j = 0; j < n; j++) scores[j] += bias[j];
  const float sum = Exponentials(scores, n);
  WeightedSum(scores, values, n, head_dim, 1.0f / sum, y);
}

float* Scores(int64_t n) {
  static thread_local std::vector<float> scores;
  if (static_cast<int64_t>(scores.size()) < n + kLanes) scores.resize(2 * n + kLanes);
  return scores.data();
}

// Neighbours as complex numbers: to[i] = x[i] own[i] + x[i's other] other[i].
void Rotate(const float* x, const float* own, const float* other, int64_t head_dim, float* to) {
  for (int64_t i = 0; i < head_dim; i++) to[i] = x[i] * own[i] + x[i ^ 1] * other[i];
}

// packed [B, (H + 2 Hkv) Dh] of one step at `position`: its keys and values go to the cache, its queries attend to all there.
// rotation [4, Dh] holds what `Rotate` takes for queries and for keys, or nothing.
struct CachedAttention {
  explicit CachedAttention(const Attributes& attributes) : past_context(attributes.Int("past_context")) {}

  void Compute(Call& call) {
    const TensorView packed = call.Input(0);
    const TensorView cache = call.Input(1);
    const int64_t position = call.Input(2).ints()[0];
    const TensorView rotation = call.Input(3);
    const int64_t batch = cache.dim(1), kv_heads = cache.dim(2), capacity = cache.dim(3), head_dim = cache.dim(4);
    const int64_t width = packed.size() / batch, heads = width / head_dim - 2 * kv_heads, group = heads / kv_heads;
    if (position < 0 || position >= capacity) throw std::out_of_range("a step beyond the end of the cache");
    const TensorView y = call.Output(0, {batch, 1, heads * head_dim});
    const int64_t first = past_context < 0 ? 0 : std::max<int64_t>(0, position - past_context);
    const int64_t length = position + 1 - first;
    const int64_t grain = std::max<int64_t>(1, kGrain / (2 * length * head_dim * group));
    const bool rotates = rotation.size() > 0;
    ParallelFor(batch * kv_heads, grain, [&](int64_t begin, int64_t end) {
      std::vector<float> rotated(rotates ? head_dim : 0);
      for (int64_t i = begin; i < end; i++) {
        const int64_t row = i / kv_heads, kv_head = i % kv_heads;
        const float* step = packed.floats() + row * width;
        float* keys = cache.floats() + i * capacity * head_dim;
        float* values = keys + batch * kv_heads * capacity * head_dim;
        const float* new_key = step + (heads + kv_head) * head_dim;
        const float* turn = rotation.floats();
        if (rotates) {
          Rotate(new_key, turn + 2 * head_dim, turn + 3 * head_dim, head_dim, keys + position * head_dim);
        } else {
          std::copy_n(new_key, head_dim, keys + position * head_dim);
        }
        std::copy_n(new_key + kv_heads * head_dim, head_dim, values + position * head_dim);
        for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
          const float* query = step + head * head_dim;
          if (rotates) {
            Rotate(query, turn, turn + head_dim, head_dim, rotated.data());
            query = rotated.data();
          }
          Attend(query, keys + first * head_dim, values + first * head_dim, nullptr, length, head_dim, Scores(length),
                 y.floats() + (row * heads + head) * head_dim);
        }
      }
    });
  }

  int64_t past_context;
};

// Keys and values [B, Hkv, S, Dh] of the steps from 0 on into the cache.
struct FillCache {
  explicit FillCache(const Attributes&) {}

  void Compute(Call& call) {
    const TensorView cache = call.Input(0);
    const TensorView parts[] = {call.Input(1), call.Input(2)};
    const int64_t rows = cache.dim(1) * cache.dim(2), room = cache.dim(3) * cache.dim(4);
    const int64_t taken = parts[0].dim(2) * parts[0].dim(3);
    if (taken > room) throw std::out_of_range("more steps than the cache has room for");
    for (int part = 0; part < 2; part++)
      for (int64_t row = 0; row < rows; row++)
        std::copy_n(parts[part].floats() + row * taken, taken, cache.floats() + (part * rows + row) * room);
  }
};

// queries [B, H Dh] to keys and values [B, H, L, Dh], with bias [1 or B, 1, 1, L] or an empty one.
struct StepAttention {
  explicit StepAttention(const Attributes&) {}

  void Compute(Call& call) {
    const TensorView queries = call.Input(0), keys = call.Input(1), values = call.Input(2), bias = call.Input(3);
    const int64_t batch = keys.dim(0), heads = keys.dim(1), length = keys.dim(2), head_dim = keys.dim(3);
    const TensorView y = call.Output(0, {batch, 1, heads * head_dim});
    const int64_t bias_step = bias.size() > length ? length : 0;
    const int64_t grain = std::max<int64_t>(1, kGrain / (2 * length * head_dim));
    ParallelFor(batch * heads, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const float* scores_bias = bias.size() > 0 ? bias.floats() + (i / heads) * bias_step : nullptr;
        Attend(queries.floats() + i * head_dim, keys.floats() + i * length * head_dim,
               values.floats() + i * length * head_dim, scores_bias, length, head_dim, Scores(length),
               y.floats() + i * head_dim);
      }
    });
  }
};

const bool cached = RegisterOp<CachedAttention>("MgCachedAttention",
                                                {"packed: float", "cache: float", "position: int32", "rotation: float"},
                                                {"y: float"}, {"past_context: int = -1"}, /*stateful=*/true);
const bool fill =
    RegisterOp<FillCache>("MgFillCache", {"cache: float", "keys: float", "values: float"}, {}, {}, /*stateful=*/true);
const bool step = RegisterOp<StepAttention>(
    "MgStepAttention", {"queries: float", "keys: float", "values: float", "bias: float"}, {"y: float"});

}  // namespace
}  // namespace mg
