// Attention on projections as they are: softmax(scale q k^T + bias) v, and its gradient.
//
// `projections` is one tensor [q | k | v], two (q and [k | v]) or three, [B, S or L, heads * Dh] each; or three of the
// layout [B, heads, S or L, Dh]. The result has the layout of the queries. `bias` is a scalar for none, or broadcasts to
// [B, H, S, L].
#include "attention.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

namespace any {
constexpr int kLanes = 4;
#include "attention_tile.h"
#include "attention_forward.h"
#include "attention_backward.h"
}  // namespace any

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define MG_HAS_WIDE_VECTORS
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
constexpr int kLanes = 8;
#include "attention_tile.h"
#include "attention_forward.h"
#include "attention_backward.h"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
namespace avx512 {
constexpr int kLanes = 16;
#include "attention_tile.h"
#include "attention_forward.h"
#include "attention_backward.h"
}  // namespace avx512
#pragma GCC pop_options
#elif defined(__x86_64__) && defined(__clang__)
#define MG_HAS_WIDE_VECTORS
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
namespace avx2 {
constexpr int kLanes = 8;
#include "attention_tile.h"
#include "attention_forward.h"
#include "attention_backward.h"
}  // namespace avx2
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma"))), apply_to = function)
namespace avx512 {
constexpr int kLanes = 16;
#include "attention_tile.h"
#include "attention_forward.h"
#include "attention_backward.h"
}  // namespace avx512
#pragma clang attribute pop
#endif

const AttentionKernels& Kernels() {
#ifdef MG_HAS_WIDE_VECTORS
  static const bool has_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  static const bool has_avx512 = has_fma && __builtin_cpu_supports("avx512f");
  if (has_avx512) return avx512::kernels;
  if (has_fma) return avx2::kernels;
#endif
  return any::kernels;
}

[[noreturn]] void Refuse(const char* what) { throw std::invalid_argument(std::string("attention: ") + what); }

// The attributes that both ops have.
struct AttentionOptions {
  explicit AttentionOptions(const Attributes& attributes)
      : count(attributes.Int("count")),
        heads(attributes.Int("heads")),
        kv_heads(attributes.Int("kv_heads")),
        causal(attributes.Bool("causal")),
        window(attributes.Int("window")),
        scale(attributes.Float("scale")),
        bfloat16(attributes.Bool("round")) {
    if (count < 1 || count > 3) Refuse("takes one, two or three projections");
    if (kv_heads < 1 || heads % kv_heads != 0) Refuse("the heads of keys do not divide those of queries");
  }

  int64_t count, heads, kv_heads;
  bool causal;
  int64_t window;
  float scale;
  bool bfloat16;
};

struct Projections {
  Rows q, k, v;
};

// Where queries, keys and values lie in tensors of the projections' shapes.
Projections Views(const AttentionOptions& options, const std::vector<TensorView>& tensors, int64_t dim) {
  const auto view = [&](size_t i, int64_t column) -> Rows {
    const TensorView& t = tensors[i];
    if (t.shape().size() == 4) return {t.floats(), t.dim(1) * t.dim(2) * dim, t.dim(2) * dim, dim};
    return {t.floats() + column, t.dim(1) * t.dim(2), dim, t.dim(2)};
  };
  const int64_t q = options.heads * dim, k = options.kv_heads * dim;
  if (options.count == 1) return {view(0, 0), view(0, q), view(0, q + k)};
  if (options.count == 2) return {view(0, 0), view(1, 0), view(1, k)};
  return {view(0, 0), view(1, 0), view(2, 0)};
}

AttentionCall Describe(const AttentionOptions& options, const std::vector<TensorView>& tensors, const TensorView& bias) {
  AttentionCall call{};
  const Shape &q = tensors.front().shape(), &k = tensors.back().shape();
  if ((q.size() != 3 && q.size() != 4) || q.size() != k.size()) Refuse("projections have 3 or 4 axes");
  const bool split = q.size() == 4;
  const int64_t heads_in_first = options.heads + (options.count == 1 ? 2 * options.kv_heads : 0);
  call.batch = q[0];
  call.heads = options.heads;
  call.kv_heads = options.kv_heads;
  call.queries = q[split ? 2 : 1];
  call.keys = k[split ? 2 : 1];
  call.head_dim = split ? q[3] : q[2] / heads_in_first;
  const int64_t heads_in_last = options.count == 3 ? options.kv_heads : 2 * options.kv_heads;
  const bool fits = split ? options.count == 3 && q[1] == options.heads && k[1] == options.kv_heads && k[3] == q[3]
                          : q[2] == heads_in_first * call.head_dim &&
                                (options.count == 1 || k[2] == heads_in_last * call.head_dim);
  if (!fits || k[0] != call.batch) Refuse("the projections' sizes do not fit the heads");
  if (tensors.size() == 3 && tensors[1].shape() != k) Refuse("keys and values differ in shape");
  if (options.causal && call.keys < call.queries) Refuse("a causal one needs at least as many keys as queries");
  call.causal = options.causal;
  call.window = options.causal ? options.window : -1;
  call.scale = options.scale;
  call.bfloat16 = options.bfloat16;
  const Projections views = Views(options, tensors, call.head_dim);
  call.q = views.q, call.k = views.k, call.v = views.v;
  if (!bias.shape().empty()) {
    const Shape& s = bias.shape();
    if (s.size() != 4 || s[3] != call.keys || (s[0] != 1 && s[0] != call.batch) || (s[1] != 1 && s[1] != call.heads) ||
        (s[2] != 1 && s[2] != call.queries))
      Refuse("the bias does not broadcast to [B, H, S, L]");
    call.bias = {bias.floats(), s[0] == 1 ? 0 : s[1] * s[2] * s[3], s[1] == 1 ? 0 : s[2] * s[3], s[2] == 1 ? 0 : s[3]};
  }
  return call;
}

Rows ResultView(const AttentionCall& call, const TensorView& y) {
  const int64_t dim = call.head_dim;
  if (y.shape().size() == 4) return {y.floats(), call.heads * call.queries * dim, call.queries * dim, dim};
  return {y.floats(), call.queries * call.heads * dim, dim, call.heads * dim};
}

// Few heads are shared out in parts, so that every thread has something to do.
int64_t Parts(const AttentionCall& call, int64_t rows) {
  const int64_t wanted = Threads() == 1 ? 1 : 2 * Threads(), pairs = call.batch * call.kv_heads;
  return pairs >= wanted ? 1 : std::max<int64_t>(1, std::min((wanted + pairs - 1) / pairs, rows / 96));
}

std::vector<TensorView> Inputs(Call& call, int64_t count) {
  std::vector<TensorView> tensors;
  for (int64_t i = 0; i < count; i++) tensors.push_back(call.Input(static_cast<int>(i)));
  return tensors;
}

struct Attention {
  explicit Attention(const Attributes& attributes) : options(attributes) {}

  void Compute(Call& op) {
    const std::vector<TensorView> projections = Inputs(op, options.count);
    const TensorView bias = op.Input(static_cast<int>(options.count));
    AttentionCall call = Describe(options, projections, bias);
    Shape shape = projections[0].shape();
    if (shape.size() == 3) shape[2] = call.heads * call.head_dim;
    const TensorView y = op.Output(0, shape), stats = op.Output(1, {call.batch, call.heads, 2, call.queries});
    if (y.size() == 0) return;
    call.y = ResultView(call, y);
    call.stats = stats.floats();
    call.parts = Parts(call, call.queries);
    const AttentionKernels& kernels = Kernels();
    ParallelFor(call.tasks(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; task++) kernels.forward(call, task);
    });
  }

  AttentionOptions options;
};

struct AttentionGrad {
  explicit AttentionGrad(const Attributes& attributes) : options(attributes), biases(attributes.Int("biases")) {}

  void Compute(Call& op) {
    const int count = static_cast<int>(options.count);
    const std::vector<TensorView> projections = Inputs(op, count);
    const TensorView bias = op.Input(count), y = op.Input(count + 1), stats = op.Input(count + 2), dy = op.Input(count + 3);
    AttentionCall call = Describe(options, projections, bias);
    std::vector<TensorView> gradients;
    for (int i = 0; i < count; i++) gradients.push_back(op.Output(i, projections[i].shape()));
    const Projections views = Views(options, gradients, call.head_dim);
    call.dq = views.q, call.dk = views.k, call.dv = views.v;
    call.y = ResultView(call, y);
    call.dy = ResultView(call, dy);
    call.stats = stats.floats();
    const AttentionKernels& kernels = Kernels();
    if (biases > 0) {
      const TensorView dbias = op.Output(count, bias.shape());
      std::memset(dbias.floats(), 0, dbias.size() * sizeof(float));
      call.dbias = call.bias;
      call.dbias.data = dbias.floats();
      BackwardWithBias(call, kernels);
      return;
    }
    call.parts = Parts(call, call.keys);
    TensorView partial;
    if (call.parts > 1) {
      partial = op.Scratch({call.batch * call.heads * call.parts, kernels.partial_size(call)});
      call.partial = partial.floats();
    }
    ParallelFor(call.tasks(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; task++) kernels.backward(call, task);
    });
    if (call.parts > 1) {
      ParallelFor(call.batch * call.heads, 1, [&](int64_t begin, int64_t end) {
        for (int64_t head = begin; head < end; head++) kernels.sum_partials(call, head);
      });
    }
  }

  // Tasks that add to the same values of the bias's gradient run one after the other.
  static void BackwardWithBias(const AttentionCall& call, const AttentionKernels& kernels) {
    const int64_t batches = call.dbias.batch == 0 ? 1 : call.batch, heads = call.dbias.head == 0 ? 1 : call.kv_heads;
    ParallelFor(batches * heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t group = begin; group < end; group++)
        for (int64_t b = group / heads; b < call.batch; b += batches)
          for (int64_t g = group % heads; g < call.kv_heads; g += heads) kernels.backward(call, b * call.kv_heads + g);
    });
  }

  AttentionOptions options;
  int64_t biases;
};

#define MG_ATTENTION_ATTRIBUTES \
  "count: int >= 1", "heads: int", "kv_heads: int", "causal: bool", "window: int", "scale: float", "round: bool"

const bool attention =
    RegisterOp<Attention>("MgAttention", {"projections: count * float", "bias: float"}, {"y: float", "stats: float"},
                          {MG_ATTENTION_ATTRIBUTES});
const bool attention_grad = RegisterOp<AttentionGrad>(
    "MgAttentionGrad", {"projections: count * float", "bias: float", "y: float", "stats: float", "dy: float"},
    {"gradients: count * float", "dbias: biases * float"}, {MG_ATTENTION_ATTRIBUTES, "biases: int >= 0"});

}  // namespace

float* ThreadMemory(int64_t floats) {
  thread_local std::vector<float> memory;
  if (static_cast<int64_t>(memory.size()) < floats + 16) memory.resize(floats + 16);
  const uintptr_t address = reinterpret_cast<uintptr_t>(memory.data());
  return reinterpret_cast<float*>((address + 63) / 64 * 64);
}

}  // namespace mg
