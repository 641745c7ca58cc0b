// Sums and maxima over rows of floats. Compilers keep the order of float additions, so they need the partial sums spelled out.
#pragma once

#include <cstdint>
#include <cstring>

#include "vectors.h"

namespace mg {

#pragma GCC diagnostic ignored "-Wpsabi"  // how functions pass vectors: all that do are inlined

constexpr int kLanes = 8;
typedef float Lanes __attribute__((vector_size(4 * kLanes)));

MG_INLINE Lanes Load(const float* x) {
  Lanes lanes;
  std::memcpy(&lanes, x, sizeof(lanes));
  return lanes;
}

MG_INLINE void Store(float* x, const Lanes& lanes) { std::memcpy(x, &lanes, sizeof(lanes)); }

MG_INLINE float Total(const Lanes& a) {
  return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

MG_INLINE float RowSum(const float* x, int64_t n) {
  Lanes a = {}, b = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) a += Load(x + i), b += Load(x + i + kLanes);
  float sum = Total(a + b);
  for (; i < n; i++) sum += x[i];
  return sum;
}

// sum x^2
MG_INLINE float RowSquares(const float* x, int64_t n) {
  Lanes a = {}, b = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const Lanes u = Load(x + i), v = Load(x + i + kLanes);
    a += u * u, b += v * v;
  }
  float sum = Total(a + b);
  for (; i < n; i++) sum += x[i] * x[i];
  return sum;
}

// sum (x - mean)^2
MG_INLINE float RowVariation(const float* x, float mean, int64_t n) {
  Lanes a = {}, b = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const Lanes u = Load(x + i) - mean, v = Load(x + i + kLanes) - mean;
    a += u * u, b += v * v;
  }
  float sum = Total(a + b);
  for (; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
  return sum;
}

MG_INLINE float RowMax(const float* x, int64_t n) {
  float largest = x[0];
  int64_t i = 0;
  if (n >= kLanes) {
    Lanes a = Load(x);
    for (i = kLanes; i + kLanes <= n; i += kLanes) {
      const Lanes u = Load(x + i);
      a = u > a ? u : a;
    }
    for (int j = 0; j < kLanes; j++) largest = a[j] > largest ? a[j] : largest;
  }
  for (; i < n; i++) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

}  // namespace mg
