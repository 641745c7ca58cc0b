#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace mg {

namespace {

// One ParallelFor: a counter of items handed out, and of items done.
struct Job {
  const std::function<void(int64_t, int64_t)>* work;
  int64_t count;
  int64_t grain;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};

  bool HasWork() const { return next.load(std::memory_order_relaxed) < count; }

  void Run() {
    for (;;) {
      const int64_t begin = next.fetch_add(grain);
      if (begin >= count) return;
      const int64_t end = std::min(count, begin + grain);
      (*work)(begin, end);
      done.fetch_add(end - begin, std::memory_order_release);
    }
  }
};

// Threads that wait for jobs. Each job's own caller works on it, too, so a job ends even if every other thread is busy.
class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; i++) std::thread([this] { Work(); }).detach();
  }

  void Run(const std::shared_ptr<Job>& job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      jobs_.push_back(job);
      waiting_.store(static_cast<int>(jobs_.size()), std::memory_order_release);
    }
    wake_.notify_all();
    job->Run();
    // The others finish what they took: microseconds, as all items are handed out.
    for (int spins = 0; job->done.load(std::memory_order_acquire) < job->count; spins++)
      if (spins > 2000) std::this_thread::yield();
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.erase(std::find(jobs_.begin(), jobs_.end(), job));
    waiting_.store(static_cast<int>(jobs_.size()), std::memory_order_release);
  }

 private:
  void Work() {
    for (;;) {
      std::shared_ptr<Job> job;
      // Ops follow each other closely: a look without sleeping saves the wake-up.
      for (int spins = 0; spins < 4000 && waiting_.load(std::memory_order_acquire) == 0; spins++) __builtin_ia32_pause();
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return (job = Next()) != nullptr; });
      }
      job->Run();
    }
  }

  std::shared_ptr<Job> Next() const {
    for (const auto& job : jobs_)
      if (job->HasWork()) return job;
    return nullptr;
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> jobs_;
  std::atomic<int> waiting_{0};
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
  if (count <= grain || Threads() == 1) return work(0, count);
  static Pool* const pool = new Pool(Threads());  // never destroyed: its threads may outlive static objects
  const auto job = std::make_shared<Job>();
  job->work = &work;
  job->count = count;
  job->grain = grain;
  pool->Run(job);
}

}  // namespace mg
