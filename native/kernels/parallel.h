// Sharing the work of one op among the processor's cores.
#pragma once

#include <cstdint>
#include <functional>

namespace mg {

// How many threads work on one op, the calling one included.
int Threads();

// Sets it: 0 takes one per core. Called once, before the first op runs.
void SetThreads(int threads);

// What a thread does that waits without sleeping.
inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Calls work(begin, end) for ranges that cover [0, count), from several threads when there are more than `grain` items.
// Ranges are handed out in order, `grain` items at a time, to whoever is free. Returns when all are done. Calls from different
// threads are served one after the other; one from inside of `work` is done by the thread that makes it.
void ParallelFor(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& work);

}  // namespace mg
