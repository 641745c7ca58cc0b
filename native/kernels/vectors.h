// SIMD without assembly: GCC's vector types, and functions compiled once for each kind of processor.
//
//   MG_VECTORIZED void Scale(float* x, int64_t n, float factor) { for (int64_t i = 0; i < n; i++) x[i] *= factor; }
//
// The loader takes the clone that fits the processor. A function that a clone calls must be inlined into it (MG_INLINE), or be
// MG_VECTORIZED itself.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define MG_VECTORIZED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), noinline))
#else
#define MG_VECTORIZED __attribute__((noinline))
#endif
#define MG_INLINE inline __attribute__((always_inline))

// Before a loop over elements: its arrays may be the same (an op in place), but no element is written that another one reads.
#if defined(__clang__)
#define MG_ELEMENTWISE _Pragma("clang loop vectorize(assume_safety)")
#else
#define MG_ELEMENTWISE _Pragma("GCC ivdep")
#endif
