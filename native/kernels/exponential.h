// Functions of e^x for loops that the compiler turns into vectors (inside of MG_VECTORIZED functions). Errors are a few units in
// the last place of the larger of the result and 1 (of the result itself for ExpMinusOne and Tanh).
#pragma once

#include <cstdint>
#include <cstring>

#include "vectors.h"

namespace mg {

// e^x - 1 = s (e^r - 1) + (s - 1), with s = 2^n the power next to e^x and |r| <= ln(2) / 2, where a polynomial is e^r - 1.
MG_INLINE float ExpMinusOne(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  // Adding and taking away 1.5 * 2^23 rounds to the nearest integer.
  const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r * r + r;
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float s;
  std::memcpy(&s, &bits, sizeof(s));
  return s * p + (s - 1.0f);
}

MG_INLINE float Elu(float x) {
  const float negative = ExpMinusOne(x < 0.0f ? x : 0.0f);
  return x > 0.0f ? x : negative;
}

// The derivative of Elu at x.
MG_INLINE float EluSlope(float x) {
  const float negative = ExpMinusOne(x < 0.0f ? x : 0.0f) + 1.0f;
  return x > 0.0f ? 1.0f : negative;
}

MG_INLINE float Sigmoid(float x) { return 1.0f / (2.0f + ExpMinusOne(-x)); }

MG_INLINE float Tanh(float x) {
  const float e = ExpMinusOne(2.0f * x < 40.0f ? 2.0f * x : 40.0f);
  return e / (e + 2.0f);
}

}  // namespace mg
