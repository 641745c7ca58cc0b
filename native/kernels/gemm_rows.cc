#include "gemm_rows.h"

#include <algorithm>
#include <cstring>

#include "gemm.h"
#include "parallel.h"
#include "targets.h"
#include "vectors.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Vectors wider than the processor's are passed between functions only where these are inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace mg {
namespace {

namespace plain {
#define MG_WIDTH 4
#include "gemm_rows.inc"
}  // namespace plain

#if defined(__x86_64__)
MG_TARGET_AVX2
namespace avx2 {
#define MG_WIDTH 8
#include "gemm_rows.inc"
}  // namespace avx2
MG_TARGET_END

MG_TARGET_AVX512
namespace avx512 {
#define MG_WIDTH 16
#include "gemm_rows.inc"
}  // namespace avx512
MG_TARGET_END
#endif

struct Loops {
  decltype(&plain::MultiplyRows) multiply;
  decltype(&plain::RoundAll) round;
};

const Loops& ForThisProcessor() {
#if defined(__x86_64__)
  static const Loops loops = HasAvx512() ? Loops{avx512::MultiplyRows, avx512::RoundAll}
                             : HasAvx2() ? Loops{avx2::MultiplyRows, avx2::RoundAll}
                                         : Loops{plain::MultiplyRows, plain::RoundAll};
#else
  static const Loops loops{plain::MultiplyRows, plain::RoundAll};
#endif
  return loops;
}

int64_t BytesPerNumber(WeightType type) {
  return type == WeightType::kFloat32 ? 4 : type == WeightType::kBfloat16 ? 2 : 1;
}

MG_VECTORIZED void ConvertRow(int64_t k, const uint16_t* source, float* target) {
  for (int64_t i = 0; i < k; i++) {
    const uint32_t bits = static_cast<uint32_t>(source[i]) << 16;
    std::memcpy(target + i, &bits, sizeof(bits));
  }
}

MG_VECTORIZED void ConvertRow(int64_t k, const int8_t* source, float scale, float* target) {
  for (int64_t i = 0; i < k; i++) target[i] = source[i] * scale;
}

// x, rounded if it must be.
class RoundedRows {
 public:
  RoundedRows(int64_t m, int64_t k, const float* x, int64_t ldx, bool round)
      : buffer_(round ? m * k : 0), data_(round ? buffer_.data() : x), stride_(round ? k : ldx) {
    for (int64_t i = 0; round && i < m; i++) ForThisProcessor().round(k, x + i * ldx, buffer_.data() + i * k);
  }
  const float* data() const { return data_; }
  int64_t stride() const { return stride_; }

 private:
  PackingBuffer buffer_;
  const float* data_;
  int64_t stride_;
};

}  // namespace

Weights Weights::From(int64_t row, int64_t k) const {
  return {static_cast<const char*>(data) + row * k * BytesPerNumber(type), type, scales == nullptr ? nullptr : scales + row};
}

void MultiplyRowsInThread(int64_t m, int64_t n, int64_t k, const float* x, int64_t ldx, const Weights& weights,
                          const float* bias, bool round_to_bfloat16, float* y, int64_t ldy) {
  const RoundedRows rows(m, k, x, ldx, round_to_bfloat16);
  ForThisProcessor().multiply(m, n, k, rows.data(), rows.stride(), weights, bias, round_to_bfloat16, y, ldy);
}

void MultiplyRows(int64_t m, int64_t n, int64_t k, const float* x, int64_t ldx, const Weights& weights, const float* bias,
                  bool round_to_bfloat16, float* y, int64_t ldy) {
  const RoundedRows rows(m, k, x, ldx, round_to_bfloat16);
  // Whole strips of 12 rows of W, a share of at least 64 KiB.
  const int64_t bytes = k * BytesPerNumber(weights.type);
  const int64_t grain = std::max<int64_t>(1, (64 << 10) / std::max<int64_t>(1, bytes) / 12) * 12;
  ParallelFor(n, grain, [&](int64_t begin, int64_t end) {
    ForThisProcessor().multiply(m, end - begin, k, rows.data(), rows.stride(), weights.From(begin, k),
                                bias == nullptr ? nullptr : bias + begin, round_to_bfloat16, y + begin, ldy);
  });
}

void ConvertWeights(int64_t n, int64_t k, const Weights& weights, float* target) {
  ParallelFor(n, std::max<int64_t>(1, (1 << 14) / std::max<int64_t>(1, k)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const Weights here = weights.From(row, k);
      float* to = target + row * k;
      if (weights.type == WeightType::kFloat32) std::memcpy(to, here.data, k * sizeof(float));
      if (weights.type == WeightType::kBfloat16) ConvertRow(k, static_cast<const uint16_t*>(here.data), to);
      if (weights.type == WeightType::kInt8) ConvertRow(k, static_cast<const int8_t*>(here.data), *here.scales, to);
    }
  });
}

}  // namespace mg
