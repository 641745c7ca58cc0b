// Convolution over time as a matrix product. In the layout [batch, time, channels] the window of an output frame is a run of
// consecutive numbers, so the windows are the rows of a matrix that need not be built: its rows lie stride * channels apart
// and overlap. A transposed convolution of stride s is a convolution that gives s frames a row ("phases").
//
// A block of rows at a time, the input is padded and activated into a buffer that stays in the cache (or read where it is, if
// neither is to be done), and multiplied; what comes after (bias, skip connection) is done while the block is in the cache.
#include <algorithm>
#include <cstring>
#include <vector>

#include "conv.h"
#include "exponential.h"
#include "gemm.h"
#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

MG_VECTORIZED void EluOf(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = Elu(x[i]);
}

MG_VECTORIZED void TimesEluSlope(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] *= EluSlope(x[i]);
}

MG_VECTORIZED void AddTo(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

// Sums in 32 lanes, which the compiler keeps in registers.
MG_VECTORIZED float Dot(const float* a, const float* b, int64_t n) {
  float lanes[32] = {};
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    for (int j = 0; j < 32; j++) lanes[j] += a[i + j] * b[i + j];
  for (; i < n; i++) lanes[i % 32] += a[i] * b[i];
  float sum = 0;
  for (int j = 0; j < 32; j++) sum += lanes[j];
  return sum;
}

// Where frame i of the padded clip comes from, or -1 for zeros.
int64_t SourceFrame(int64_t i, int64_t length, const ConvGeometry& g) {
  if (i >= 0 && i < length) return i;
  switch (g.mode) {
    case PadMode::kZeros:
      return -1;
    case PadMode::kReplicate:
      return i < 0 ? 0 : length - 1;
    case PadMode::kReflect: {
      // A clip that is too short to be mirrored is extended by zeros first.
      const int64_t extended = std::max(length, std::max(g.left, g.right) + 1);
      const int64_t from = i < 0 ? -i : i < extended ? i : 2 * (extended - 1) - i;
      return from < length ? from : -1;
    }
  }
  return -1;
}

}  // namespace

const float* InputFrames(const float* x, int64_t length, int64_t channels, int64_t from, int64_t to, const ConvGeometry& g,
                         bool elu, float* buffer) {
  if (!elu && from >= 0 && to <= length) return x + from * channels;
  const int64_t inside = std::min(std::max<int64_t>(from, 0), to), outside = std::max(std::min(to, length), inside);
  const auto border = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      float* frame = buffer + (i - from) * channels;
      const int64_t source = SourceFrame(i, length, g);
      if (source < 0) {
        std::memset(frame, 0, channels * sizeof(float));
      } else if (elu) {
        EluOf(x + source * channels, frame, channels);
      } else {
        std::memcpy(frame, x + source * channels, channels * sizeof(float));
      }
    }
  };
  border(from, inside);
  float* middle = buffer + (inside - from) * channels;
  if (elu) {
    EluOf(x + inside * channels, middle, (outside - inside) * channels);
  } else {
    std::memcpy(middle, x + inside * channels, (outside - inside) * channels * sizeof(float));
  }
  border(outside, to);
  return buffer;
}

namespace {

// What is done with the product and the tensor `other`.
enum class Finish { kNothing, kAdd, kTimesEluSlope };

// x [B, T, P], filter [taps, P, phases * Q], bias [Q], other [B, frames, Q] -> [B, frames, Q]
struct Conv1d {
  explicit Conv1d(const Attributes& a)
      : geometry(a), phases(a.Int("phases")), skip(a.Int("skip")), frames(a.Int("frames")), elu(a.Bool("elu")),
        finish(static_cast<Finish>(a.Int("finish"))), round(a.Bool("round")) {}

  // A part of the sum over taps and channels.
  struct Slice {
    int64_t from, depth, offset;
  };

  void Compute(Call& call) {
    const TensorView x = call.Input(0), filter = call.Input(1), bias = call.Input(2), other = call.Input(3);
    const int64_t batch = x.dim(0), length = x.dim(1), channels = x.dim(2), taps = filter.dim(0), n = filter.dim(2);
    const TensorView y = call.Output(0, {batch, frames, n / phases});
    const int64_t k = taps * channels, extent = (taps - 1) * geometry.dilation + 1, step = geometry.stride * channels;
    const int64_t rows = (skip + frames + phases - 1) / phases, size = frames * (n / phases), skipped = skip * (n / phases);

    std::vector<float> row_bias(n);
    for (int64_t i = 0; i < n; i++) row_bias[i] = bias.floats()[i % (n / phases)];

    const bool is_dot = n <= 2 && geometry.dilation == 1 && !round;
    std::vector<Slice> slices;
    const int64_t run = geometry.dilation == 1 ? k : channels;
    for (int64_t start = 0; start < k; start += run)
      for (int64_t from = 0; from < run; from += kGemmDepth)
        slices.push_back({start + from, std::min(kGemmDepth, run - from),
                          (geometry.dilation == 1 ? 0 : start / channels * geometry.dilation * channels) + from});
    const GemmPieces& pieces = Pieces();
    const int64_t width = (n + pieces.columns - 1) / pieces.columns * pieces.columns;
    const PackingBuffer weights(width * k);
    if (is_dot) {
      for (int64_t i = 0; i < n * k; i++) weights.data()[i % n * k + i / n] = filter.floats()[i];
    } else {
      const int64_t strip = pieces.columns * 8, strips = (n + strip - 1) / strip;
      ParallelFor(slices.size() * strips, std::max<int64_t>(1, (1 << 15) / (kGemmDepth * strip)), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) {
          const Slice& slice = slices[i / strips];
          const int64_t first = i % strips * strip;
          pieces.pack_b(slice.depth, std::min(strip, n - first), RowMajor(filter.floats() + slice.from * n + first, n), round,
                        weights.data() + slice.from * width + first * slice.depth);
        }
      });
    }

    const int64_t block = BlockRows(rows * batch, n, k) / pieces.rows * pieces.rows;
    const int64_t blocks = (rows + block - 1) / block;
    ParallelFor(batch * blocks, 1, [&](int64_t begin, int64_t end) {
      const PackingBuffer buffer(((block - 1) * geometry.stride + extent) * channels);
      const PackingBuffer packed(is_dot ? 0 : pieces.PackedA(block, kGemmDepth));
      for (int64_t i = begin; i < end; i++) {
        const int64_t item = i / blocks, first = i % blocks * block, count = std::min(block, rows - first);
        const int64_t from = first * geometry.stride - geometry.left;
        const float* windows = InputFrames(x.floats() + item * length * channels, length, channels, from,
                                           from + (count - 1) * geometry.stride + extent, geometry, elu, buffer.data());
        float* const out = y.floats() + item * size;
        const float* const with = finish == Finish::kNothing ? nullptr : other.floats() + item * size;
        // The block's numbers in y, of which some may be cut off at either end.
        const int64_t start = first * n - skipped, stop = start + count * n;
        const int64_t begins = std::max<int64_t>(start, 0), ends = std::min(stop, size);
        const bool is_whole = begins == start && ends == stop;
        const PackingBuffer beside(is_whole ? 0 : count * n);
        float* const c = is_whole ? out + start : beside.data();
        if (is_dot) {
          for (int64_t r = 0; r < count; r++)
            for (int64_t j = 0; j < n; j++) c[r * n + j] = row_bias[j] + Dot(windows + r * step, weights.data() + j * k, k);
        } else {
          for (size_t s = 0; s < slices.size(); s++) {
            const Slice& slice = slices[s];
            const bool last = s + 1 == slices.size();
            pieces.pack_a(count, slice.depth, RowMajor(windows + slice.offset, step), round, packed.data());
            pieces.multiply(count, n, slice.depth, packed.data(), weights.data() + slice.from * width, c, n,
                            BlockFinish{s > 0, last && round, last ? row_bias.data() : nullptr});
          }
        }
        if (!is_whole && ends > begins) std::memcpy(out + begins, c + (begins - start), (ends - begins) * sizeof(float));
        if (ends <= begins) continue;
        if (finish == Finish::kAdd) AddTo(with + begins, out + begins, ends - begins);
        if (finish == Finish::kTimesEluSlope) TimesEluSlope(with + begins, out + begins, ends - begins);
      }
    });
  }

  // Rows of a block: its windows fit the second cache; where the filter is large, more of them, to read it less often.
  static int64_t BlockRows(int64_t rows, int64_t n, int64_t k) {
    const int64_t most = n * k > (1 << 20) ? 264 : 192;
    const int64_t share = (rows + Threads() - 1) / Threads();
    return std::max<int64_t>(std::min(most, share + 16), 48);
  }

  const ConvGeometry geometry;
  const int64_t phases, skip, frames;
  const bool elu;
  const Finish finish;
  const bool round;
};

const bool conv1d =
    RegisterOp<Conv1d>("MgConv1d", {"x: float", "filter: float", "bias: float", "other: float"}, {"y: float"},
                       {"stride: int", "dilation: int", "left: int", "right: int", "mode: int", "phases: int", "skip: int",
                        "frames: int", "elu: bool", "finish: int", "round: bool"});

}  // namespace
}  // namespace mg
