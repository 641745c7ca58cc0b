// What the convolution over time and its gradient by the filter have in common.
#pragma once

#include <cstdint>

#include "op.h"

namespace mg {

enum class PadMode { kZeros, kReflect, kReplicate };

struct ConvGeometry {
  explicit ConvGeometry(const Attributes& a)
      : stride(a.Int("stride")), dilation(a.Int("dilation")), left(a.Int("left")), right(a.Int("right")),
        mode(static_cast<PadMode>(a.Int("mode"))) {}

  const int64_t stride, dilation;
  // Frames of padding.
  const int64_t left, right;
  const PadMode mode;
};

// Frames `from` to `to` of a clip x [length, channels], counted from its first one; those outside are padding. With `elu`, of
// ELU(x). Where they lie, or in `buffer`.
const float* InputFrames(const float* x, int64_t length, int64_t channels, int64_t from, int64_t to, const ConvGeometry& g,
                         bool elu, float* buffer);

}  // namespace mg
