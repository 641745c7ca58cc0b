#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace mg {

namespace {

// One ParallelFor: a counter of items handed out, and of items done.
struct Job {
  const std::function<void(int64_t, int64_t)>& work;
  const int64_t count;
  const int64_t grain;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};

  void Run() {
    for (;;) {
      const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= count) return;
      const int64_t end = std::min(count, begin + grain);
      work(begin, end);
      done.fetch_add(end - begin, std::memory_order_release);
    }
  }
};

// Whether this thread is at work on a job: what that starts is its own to do.
thread_local bool t_working = false;

// Threads that help with one job at a time. TensorFlow starts ops side by side: each with half of the cores would be slower than one
// after the other, and with all of them slower still.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; i++) std::thread([this] { Help(); }).detach();
  }

  void Run(Job& job) {
    std::lock_guard<std::mutex> turn(turn_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      published_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    t_working = true;
    job.Run();
    t_working = false;
    {
      // From here on nobody takes the job up.
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = nullptr;
    }
    // The helpers finish what they took: microseconds, as all items are handed out.
    for (int spins = 0; helping_.load(std::memory_order_acquire) > 0 || job.done.load(std::memory_order_acquire) < job.count;
         spins++)
      if (spins > 2000) std::this_thread::yield();
  }

 private:
  void Help() {
    t_working = true;
    for (int64_t seen = 0;;) {
      // Ops follow each other closely: a look without sleeping saves the wake-up.
      for (int spins = 0; spins < 4000 && published_.load(std::memory_order_acquire) == seen; spins++) Pause();
      Job* job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return published_.load(std::memory_order_relaxed) != seen; });
        seen = published_.load(std::memory_order_relaxed);
        job = job_;
        if (job != nullptr) helping_.fetch_add(1, std::memory_order_relaxed);
      }
      if (job == nullptr) continue;
      job->Run();
      helping_.fetch_sub(1, std::memory_order_release);
    }
  }

  // Held by the caller whose job it is.
  std::mutex turn_;
  // Guards job_ and the sleep of helpers.
  std::mutex mutex_;
  std::condition_variable wake_;
  Job* job_ = nullptr;
  std::atomic<int64_t> published_{0};
  std::atomic<int> helping_{0};
};

int g_threads = 0;

}  // namespace

void SetThreads(int threads) { g_threads = threads; }

int Threads() {
  static const int cores = std::max(1u, std::thread::hardware_concurrency());
  return g_threads > 0 ? g_threads : cores;
}

void ParallelFor(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& work) {
  if (count <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (count <= grain || t_working || Threads() == 1) {
    for (int64_t begin = 0; begin < count; begin += grain) work(begin, std::min(count, begin + grain));
    return;
  }
  static Pool* const pool = new Pool(Threads());  // never destroyed: its threads may outlive static objects
  Job job{work, count, grain};
  pool->Run(job);
}

}  // namespace mg
