// The gradient of a convolution by its filter: dF [taps, P, Q] = sum over output frames of window x output gradient, a product of
// the transposed matrix of windows (conv.cc) with the matrix of frames. With the roles exchanged it is that of a transposed one.
#include <algorithm>
#include <cstring>

#include "conv.h"
#include "gemm.h"
#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

MG_VECTORIZED void AddTo(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

// x [B, T, P], of which windows are taken, and rows [B, F, Q] -> [taps, P, Q]. ELU may be applied to either first.
struct Conv1dFilterGradient {
  explicit Conv1dFilterGradient(const Attributes& a)
      : geometry(a), taps(a.Int("taps")), elu_windows(a.Bool("elu_windows")), elu_rows(a.Bool("elu_rows")),
        round(a.Bool("round")) {}

  void Compute(Call& call) {
    const TensorView x = call.Input(0), rows = call.Input(1);
    const int64_t batch = x.dim(0), length = x.dim(1), channels = x.dim(2), frames = rows.dim(1), n = rows.dim(2);
    const TensorView y = call.Output(0, {taps, channels, n});
    const int64_t k = taps * channels, extent = (taps - 1) * geometry.dilation + 1, step = geometry.stride * channels;
    std::memset(y.floats(), 0, k * n * sizeof(float));

    // The sum over frames `first` to `first + count` of an item, added to c [k, n].
    const auto add = [&](int64_t item, int64_t first, int64_t count, float* c, auto&& product) {
      const PackingBuffer window_buffer(((count - 1) * geometry.stride + extent) * channels);
      const PackingBuffer row_buffer(elu_rows ? count * n : 0);
      const int64_t from = first * geometry.stride - geometry.left;
      const float* windows = InputFrames(x.floats() + item * length * channels, length, channels, from,
                                         from + (count - 1) * geometry.stride + extent, geometry, elu_windows,
                                         window_buffer.data());
      const float* right = InputFrames(rows.floats() + item * frames * n, frames, n, first, first + count, geometry, elu_rows,
                                       row_buffer.data());
      GemmOptions options;
      options.accumulate = true;
      options.round_to_bfloat16 = round;
      const int64_t runs = geometry.dilation == 1 ? 1 : taps, run = k / runs;
      for (int64_t j = 0; j < runs; j++)
        product(run, n, count, Transposed(windows + j * geometry.dilation * channels, step), RowMajor(right, n), c + j * run * n,
                n, options);
    };
    // Small filters are summed up per part of the frames, large ones are shared out themselves.
    const int64_t parts = std::min<int64_t>(Threads(), batch * frames / 256);
    if (parts <= 1 || k * n > (1 << 18)) {
      constexpr int64_t kBlock = 4096;
      for (int64_t item = 0; item < batch; item++)
        for (int64_t first = 0; first < frames; first += kBlock)
          add(item, first, std::min(kBlock, frames - first), y.floats(), Gemm);
    } else {
      const PackingBuffer sums(parts * k * n);
      ParallelFor(parts, 1, [&](int64_t begin, int64_t end) {
        for (int64_t part = begin; part < end; part++) {
          float* c = sums.data() + part * k * n;
          std::memset(c, 0, k * n * sizeof(float));
          constexpr int64_t kBlock = 512;
          int64_t at = batch * frames * part / parts;
          for (const int64_t stop = batch * frames * (part + 1) / parts; at < stop;) {
            const int64_t item = at / frames, first = at % frames;
            const int64_t count = std::min({kBlock, frames - first, stop - at});
            add(item, first, count, c, GemmInThread);
            at += count;
          }
        }
      });
      for (int64_t part = 0; part < parts; part++) AddTo(sums.data() + part * k * n, y.floats(), k * n);
    }
  }

  const ConvGeometry geometry;
  const int64_t taps;
  const bool elu_windows, elu_rows;
  const bool round;
};

const bool conv1d_filter_gradient = RegisterOp<Conv1dFilterGradient>(
    "MgConv1dFilterGradient", {"x: float", "rows: float"}, {"y: float"},
    {"stride: int", "dilation: int", "left: int", "right: int", "mode: int", "taps: int", "elu_windows: bool",
     "elu_rows: bool", "round: bool"});

}  // namespace
}  // namespace mg
