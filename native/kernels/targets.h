// Compiling a part of a file for processors with more than the usual instructions, where MG_VECTORIZED (vectors.h) is not enough:
//
//   MG_TARGET_AVX2
//   namespace avx2 { #include "loops.inc" }
//   MG_TARGET_END
//
// Whoever calls what is inside asks HasAvx2() or HasAvx512() before.
#pragma once

#if defined(__x86_64__) && defined(__clang__)
#define MG_TARGET_AVX2 _Pragma("clang attribute push(__attribute__((target(\"avx2,fma\"))), apply_to = function)")
#define MG_TARGET_AVX512 \
  _Pragma("clang attribute push(__attribute__((target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq\"))), apply_to = function)")
#define MG_TARGET_END _Pragma("clang attribute pop")
#elif defined(__x86_64__)
#define MG_TARGET_AVX2 _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma\")")
#define MG_TARGET_AVX512 \
  _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma,avx512f,avx512vl,avx512bw,avx512dq,prefer-vector-width=512\")")
#define MG_TARGET_END _Pragma("GCC pop_options")
#endif

namespace mg {

#if defined(__x86_64__)
inline bool HasAvx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
inline bool HasAvx512() {
  __builtin_cpu_init();
  return HasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
#endif

}  // namespace mg
