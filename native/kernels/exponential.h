// exp and the normal distribution in float32, without branches, so that compilers turn loops over them into SIMD.
#pragma once

#include <cstdint>
#include <cstring>

#include "vectors.h"

namespace mg {

// e^x with a relative error below 1.5e-7; 0 below -87, the largest number there is above 88.
MG_INLINE float Exp(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers
  x = x < -87.0f ? -104.0f : x;
  x = x > 88.37f ? 88.37f : x;
  // x = n ln 2 + r, with ln 2 in two parts, the first of which has few digits
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  // minimax polynomial of e^r on [-ln 2 / 2, ln 2 / 2]
  float p = 0.0013814611010757264f;
  p = p * r + 0.008368710035645089f;
  p = p * r + 0.041668387408383856f;
  p = p * r + 0.166665206875595f;
  p = p * r + 0.499999934514732f;
  const float value = 1.0f + (r + r * r * p);
  int32_t exponent;
  std::memcpy(&exponent, &shifted, 4);
  exponent = (exponent + 127) << 23;  // the low bits of `shifted` are n
  float power;
  std::memcpy(&power, &exponent, 4);
  return x < -87.0f ? 0.0f : value * power;
}

// P(N > z) e^(z^2 / 2) for a standard normal N and z >= 0: t Q(t) with t = 1 / (1 + 0.21 z), relative error 2e-8 before rounding.
MG_INLINE float ScaledTail(float z) {
  const float t = 1.0f / (1.0f + 0.21f * z);
  float q = -0.07165479501563339f;
  q = q * t + 0.28358125903753056f;
  q = q * t - 0.3302382801418983f;
  q = q * t + 0.3493835722404987f;
  q = q * t - 0.09391292637025911f;
  q = q * t + 0.12486733137812182f;
  q = q * t + 0.06919361321256826f;
  q = q * t + 0.08506864333685332f;
  q = q * t + 0.0837115892365206f;
  return q * t;
}

}  // namespace mg
