#include "processor.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace mg {

std::vector<std::string> ProcessorFeatures() {
  std::vector<std::string> features;
#if defined(__x86_64__)
  const auto add = [&](bool has, const char* name) {
    if (has) features.push_back(name);
  };
  __builtin_cpu_init();
  add(__builtin_cpu_is("intel"), "intel");
  add(__builtin_cpu_is("amd"), "amd");
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  const bool avx512 = __builtin_cpu_supports("avx512f");  // false where the system does not save the wide registers
  add(avx512, "avx512f");
  add(__builtin_cpu_supports("avx512bw"), "avx512bw");
  add(__builtin_cpu_supports("avx512vnni"), "avx512_vnni");
  // Not known by name to every compiler. Leaf 7: bit 22 of edx is AMX-BF16, of its sub-leaf 1 bit 5 of eax is AVX512-BF16.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (avx512 && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
    const bool more = eax >= 1;
    add((edx >> 22 & 1) != 0, "amx_bf16");
    if (more && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) add((eax >> 5 & 1) != 0, "avx512_bf16");
  }
#endif
  return features;
}

}  // namespace mg
