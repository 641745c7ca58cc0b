#pragma once

#include <string>
#include <vector>

namespace mg {

// What of interest to matrix products this processor and its system offer, by the names of /proc/cpuinfo, and its maker
// ("intel", "amd"). Empty on other architectures than x86-64.
std::vector<std::string> ProcessorFeatures();

}  // namespace mg
