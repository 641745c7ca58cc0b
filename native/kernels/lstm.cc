// The recurrent part of an LSTM layer, and its gradient. The products with the input are made before, for all steps at once.
//
//   i, f, g, o = split(inputs_t + W h_{t-1})
//   c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g);  h_t = sigmoid(o) tanh(c_t)
//
// A step is little work that depends on the step before, so handing out each as an op of its own would cost more than computing
// it. Here threads stay in one loop over all steps: they take parts of a step in order, and begin those of the next step once all
// parts of the last one are done. Whoever is late only does less, and one thread alone does all: nobody waits for a thread that
// may not come. The matrix is read once per step, at the rate of the cache that it fits.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "exponential.h"
#include "lanes.h"
#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

// Calls work(step, part) for every part of every step, the parts of a step in any order and by several threads, each step after
// the one before.
template <typename Work>
void StepByStep(int64_t steps, int64_t parts, const Work& work) {
  std::atomic<int64_t> next{0}, done{0};
  ParallelFor(std::min<int64_t>(Threads(), parts), 1, [&](int64_t begin, int64_t end) {
    for (int64_t thread = begin; thread < end; thread++) {
      for (;;) {
        const int64_t item = next.fetch_add(1, std::memory_order_relaxed);
        if (item >= steps * parts) break;
        const int64_t needed = item / parts * parts;
        for (int spins = 0; done.load(std::memory_order_acquire) < needed; spins++) {
          Pause();
          if (spins > 1000) std::this_thread::yield();
        }
        work(item / parts, item % parts);
        done.fetch_add(1, std::memory_order_acq_rel);
      }
    }
  });
}

// sums[r][b] = weights[r * row_stride ...] . h[b * batch_stride ...] for 4 rows of weights and `batch` vectors.
template <int batch>
MG_INLINE void FourDots(const float* weights, int64_t row_stride, const float* h, int64_t batch_stride, int64_t n,
                        float (&sums)[4][batch]) {
  constexpr int kUnroll = 2 / batch;
  Lanes lanes[4][batch][kUnroll] = {};
  int64_t k = 0;
  for (; k + 8 * kUnroll <= n; k += 8 * kUnroll)
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++)
#pragma GCC unroll 2
      for (int j = 0; j < kUnroll; j++) {
        const Lanes row = Load(weights + r * row_stride + k + 8 * j);
#pragma GCC unroll 2
        for (int b = 0; b < batch; b++)
          lanes[r][b][j] += row * Load(h + b * batch_stride + k + 8 * j);
      }
#pragma GCC unroll 4
  for (int r = 0; r < 4; r++)
#pragma GCC unroll 2
    for (int b = 0; b < batch; b++) {
      Lanes all = lanes[r][b][0];
      if (kUnroll == 2) all += lanes[r][b][kUnroll - 1];
      float sum = Total(all);
      for (int64_t rest = k; rest < n; rest++) sum += weights[r * row_stride + rest] * h[b * batch_stride + rest];
      sums[r][b] = sum;
    }
}

// Adds to the gates of the units `from` to `to` what the hidden state gives. gates + b * gate_stride: [4, units]
template <int batch>
MG_INLINE void Recur(const float* weights, const float* h, int64_t h_stride, int64_t units, int64_t from, int64_t to,
                     float* gates, int64_t gate_stride) {
  for (int64_t u = from; u < to; u++) {
    float sums[4][batch];
    FourDots<batch>(weights + u * units, units * units, h, h_stride, units, sums);
    for (int r = 0; r < 4; r++)
      for (int b = 0; b < batch; b++) gates[b * gate_stride + r * units + u] += sums[r][b];
  }
}

MG_VECTORIZED void RecurOne(const float* weights, const float* h, int64_t units, int64_t from, int64_t to, float* gates) {
  Recur<1>(weights, h, 0, units, from, to, gates, 0);
}

MG_VECTORIZED void RecurTwo(const float* weights, const float* h, int64_t h_stride, int64_t units, int64_t from, int64_t to,
                            float* gates, int64_t gate_stride) {
  Recur<2>(weights, h, h_stride, units, from, to, gates, gate_stride);
}

// Gates before their functions -> after them; cell and hidden state of `n` units.
MG_VECTORIZED void Cell(float* i, float* f, float* g, float* o, const float* before, float* cell, float* hidden, int64_t n) {
  for (int64_t u = 0; u < n; u++) {
    const float in = Sigmoid(i[u]), forget = Sigmoid(f[u]), value = Tanh(g[u]), out = Sigmoid(o[u]);
    const float c = forget * before[u] + in * value;
    i[u] = in;
    f[u] = forget;
    g[u] = value;
    o[u] = out;
    cell[u] = c;
    hidden[u] = out * Tanh(c);
  }
}

// Units of one part of a step: some microseconds of work.
int64_t PartUnits(int64_t units, int64_t batch) {
  const int64_t least = std::max<int64_t>(16, (1 << 17) / std::max<int64_t>(1, 4 * units * batch) / 16 * 16);
  const int64_t share = (units + 4 * Threads() - 1) / (4 * Threads());
  return std::min(units, std::max(least, (share + 15) / 16 * 16));
}

// inputs [B, T, 4 D] (gates in PyTorch's order), weights [4 D, D], hidden and cell [B, D] before the first step -> hidden and cell
// states [B, T, D], gates [B, T, 4 D]
struct Lstm {
  explicit Lstm(const Attributes&) {}

  void Compute(Call& call) {
    const TensorView inputs = call.Input(0), weights = call.Input(1), hidden_before = call.Input(2), cell_before = call.Input(3);
    const int64_t batch = inputs.dim(0), steps = inputs.dim(1), units = weights.dim(1);
    const TensorView hidden = call.Output(0, {batch, steps, units}), cells = call.Output(1, {batch, steps, units});
    const TensorView gates = call.Output(2, inputs.shape());
    const int64_t width = PartUnits(units, batch), parts = (units + width - 1) / width;
    StepByStep(steps, parts, [&](int64_t t, int64_t part) {
      const int64_t from = part * width, to = std::min(units, from + width), n = to - from;
      const float* h = t == 0 ? hidden_before.floats() : hidden.floats() + (t - 1) * units;
      const int64_t stride = t == 0 ? units : steps * units, gate_stride = steps * 4 * units;
      float* g = gates.floats() + t * 4 * units;
      for (int64_t b = 0; b < batch; b++)
        for (int64_t r = 0; r < 4; r++) {
          const int64_t at = b * gate_stride + r * units + from;
          std::memcpy(g + at, inputs.floats() + t * 4 * units + at, n * sizeof(float));
        }
      int64_t b = 0;
      for (; b + 2 <= batch; b += 2)
        RecurTwo(weights.floats(), h + b * stride, stride, units, from, to, g + b * gate_stride, gate_stride);
      if (b < batch) RecurOne(weights.floats(), h + b * stride, units, from, to, g + b * gate_stride);
      for (b = 0; b < batch; b++) {
        float* own = g + b * gate_stride + from;
        const int64_t at = (b * steps + t) * units + from;
        const float* before = t == 0 ? cell_before.floats() + b * units + from : cells.floats() + at - units;
        Cell(own, own + units, own + 2 * units, own + 3 * units, before, cells.floats() + at, hidden.floats() + at, n);
      }
    });
  }
};

const bool lstm = RegisterOp<Lstm>("MgLstm", {"inputs: float", "weights: float", "hidden: float", "cell: float"},
                                   {"hidden_states: float", "cell_states: float", "gates: float"});

// The gradients of `n` units before the gates' functions, from dh; dc is carried from the step after to the one before.
MG_VECTORIZED void CellGradient(const float* i, const float* f, const float* g, const float* o, const float* before,
                                const float* cell, const float* dh, float* dc, float* di, float* df, float* dg, float* d_o,
                                int64_t n) {
  for (int64_t u = 0; u < n; u++) {
    const float squashed = Tanh(cell[u]);
    const float change = dc[u] + dh[u] * o[u] * (1.0f - squashed * squashed);
    di[u] = change * g[u] * i[u] * (1.0f - i[u]);
    df[u] = change * before[u] * f[u] * (1.0f - f[u]);
    dg[u] = change * i[u] * (1.0f - g[u] * g[u]);
    d_o[u] = dh[u] * squashed * o[u] * (1.0f - o[u]);
    dc[u] = change * f[u];
  }
}

// sums[n] += factors[k] . rows[k, n], `stride` from row to row.
MG_VECTORIZED void SumOfRows(const float* factors, const float* rows, int64_t stride, int64_t k, int64_t n, float* sums) {
  int64_t from = 0;
  for (; from + 32 <= n; from += 32) {
    Lanes lanes[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) lanes[j] = Load(sums + from + 8 * j);
    for (int64_t r = 0; r < k; r++)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++)
        lanes[j] += factors[r] * Load(rows + r * stride + from + 8 * j);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) Store(sums + from + kLanes * j, lanes[j]);
  }
  for (; from < n; from++) {
    float sum = sums[from];
    for (int64_t r = 0; r < k; r++) sum += factors[r] * rows[r * stride + from];
    sums[from] = sum;
  }
}

// The gradient of the hidden states [B, T, D], and of Lstm's own: gates, cell states, cell before, weights -> of inputs [B, T, 4 D]
struct LstmGradient {
  explicit LstmGradient(const Attributes&) {}

  void Compute(Call& call) {
    const TensorView dy = call.Input(0), gates = call.Input(1), cells = call.Input(2), cell_before = call.Input(3);
    const TensorView weights = call.Input(4);
    const int64_t batch = dy.dim(0), steps = dy.dim(1), units = dy.dim(2);
    const TensorView gradient = call.Output(0, gates.shape());
    const TensorView carried = call.Scratch({batch, units});
    std::memset(carried.floats(), 0, batch * units * sizeof(float));
    const int64_t width = std::min(units, (PartUnits(units, batch) + 31) / 32 * 32), parts = (units + width - 1) / width;
    StepByStep(steps, parts, [&](int64_t step, int64_t part) {
      const int64_t t = steps - 1 - step, from = part * width, n = std::min(units, from + width) - from;
      std::vector<float> dh(n);
      for (int64_t b = 0; b < batch; b++) {
        const int64_t row = b * steps + t;
        std::memcpy(dh.data(), dy.floats() + row * units + from, n * sizeof(float));
        if (step > 0)
          SumOfRows(gradient.floats() + (row + 1) * 4 * units, weights.floats() + from, units, 4 * units, n, dh.data());
        const float* own = gates.floats() + row * 4 * units + from;
        float* d = gradient.floats() + row * 4 * units + from;
        const float* before = t == 0 ? cell_before.floats() + b * units + from : cells.floats() + (row - 1) * units + from;
        CellGradient(own, own + units, own + 2 * units, own + 3 * units, before, cells.floats() + row * units + from, dh.data(),
                     carried.floats() + b * units + from, d, d + units, d + 2 * units, d + 3 * units, n);
      }
    });
  }
};

const bool lstm_gradient = RegisterOp<LstmGradient>(
    "MgLstmGradient", {"dy: float", "gates: float", "cells: float", "cell_before: float", "weights: float"},
    {"gradient: float"});

}  // namespace
}  // namespace mg
