// Gemm: blocks that fit the caches, and their distribution among threads. The innermost loops are in gemm.inc.
#include "gemm.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "parallel.h"
#include "targets.h"
#include "vectors.h"

// Vectors wider than the processor's are passed between functions here only where they are inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace mg {
namespace {

namespace plain {
#define MG_WIDTH 4
#define MG_ROWS 6
#include "gemm.inc"
}  // namespace plain

#if defined(__x86_64__)
MG_TARGET_AVX2
namespace avx2 {
#define MG_WIDTH 8
#define MG_ROWS 6
#include "gemm.inc"
}  // namespace avx2
MG_TARGET_END

MG_TARGET_AVX512
namespace avx512 {
#define MG_WIDTH 16
#define MG_ROWS 14
#include "gemm.inc"
}  // namespace avx512
MG_TARGET_END
#endif

// Rows of A that a thread packs at a time, so that the block fills a part of the second cache.
constexpr int64_t kBlockRows = 96;
// Numbers of B that are packed at a time: a part of the third cache.
constexpr int64_t kSharedNumbers = 4 << 20;

// Up to so many rows of A, which then stay in the second cache, it is A that is packed as a whole.
constexpr int64_t kFewRows = 192;

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// k in parts of equal depth, that panels of them fit the first cache.
struct Slices {
  explicit Slices(int64_t k) : k(k), count(CeilDivide(k, kGemmDepth)), depth(CeilDivide(k, count)) {}

  // What remains to be done with C when the slice at `from` is added, in the columns from `column` on.
  BlockFinish Finish(int64_t from, const BlockFinish& whole, int64_t column) const {
    const bool last = from + depth >= k;
    return {from > 0 || whole.accumulate, last && whole.round_to_bfloat16,
            last && whole.bias != nullptr ? whole.bias + column : nullptr};
  }

  int64_t k, count, depth;
};

template <bool parallel, typename Work>
void For(int64_t count, const Work& work) {
  if (parallel) {
    ParallelFor(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) work(i);
    });
  } else {
    for (int64_t i = 0; i < count; i++) work(i);
  }
}

// One product whose packed B fits the third cache. The threads share it; each packs its own rows of A.
template <bool parallel>
void SharedProduct(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c, int64_t ldc,
                   const BlockFinish& finish, bool round) {
  const GemmPieces& pieces = Pieces();
  const Slices slices(k);
  const int64_t width = CeilDivide(n, pieces.columns) * pieces.columns;

  // B, slice by slice of k, in pieces small enough to be shared out.
  const PackingBuffer packed_b(width * k);
  const int64_t strip = pieces.columns * 8;
  const int64_t strips = CeilDivide(n, strip);
  For<parallel>(slices.count * strips, [&](int64_t piece) {
    const int64_t from = piece / strips * slices.depth, first = piece % strips * strip;
    const int64_t deep = std::min(slices.depth, k - from);
    pieces.pack_b(deep, std::min(strip, n - first), b.At(from, first), round,
                  packed_b.data() + from * width + first * deep);
  });

  const int64_t panels = CeilDivide(m, pieces.rows);
  // As many for each thread: a last one alone would keep the others waiting.
  const int64_t threads = parallel ? Threads() : 1;
  const int64_t blocks = CeilDivide(CeilDivide(panels, kBlockRows / pieces.rows), threads) * threads;
  For<parallel>(blocks, [&](int64_t block) {
    const int64_t first = panels * block / blocks * pieces.rows;
    const int64_t rows = std::min(m, panels * (block + 1) / blocks * pieces.rows) - first;
    const PackingBuffer packed_a(pieces.PackedA(rows, slices.depth));
    for (int64_t from = 0; from < k; from += slices.depth) {
      const int64_t deep = std::min(slices.depth, k - from);
      pieces.pack_a(rows, deep, a.At(first, from), round, packed_a.data());
      pieces.multiply(rows, n, deep, packed_a.data(), packed_b.data() + from * width, c + first * ldc, ldc,
                      slices.Finish(from, finish, 0));
    }
  });
}

// One product of few rows: the threads share the packed A, and each packs its own columns of B, which are used so few times that
// they must not leave the second cache in between.
template <bool parallel>
void NarrowProduct(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c, int64_t ldc,
                   const BlockFinish& finish, bool round) {
  const GemmPieces& pieces = Pieces();
  const Slices slices(k);
  const int64_t height = CeilDivide(m, pieces.rows) * pieces.rows;
  const PackingBuffer packed_a(height * k);
  For<parallel>(slices.count, [&](int64_t slice) {
    const int64_t from = slice * slices.depth;
    pieces.pack_a(m, std::min(slices.depth, k - from), a.At(0, from), round, packed_a.data() + from * height);
  });

  const int64_t panels = CeilDivide(n, pieces.columns);
  const int64_t shares = std::min(panels, std::max(CeilDivide(panels, 8), parallel ? 4 * static_cast<int64_t>(Threads()) : 1));
  For<parallel>(shares, [&](int64_t share) {
    const int64_t first = panels * share / shares * pieces.columns;
    const int64_t columns = std::min(n, panels * (share + 1) / shares * pieces.columns) - first;
    const PackingBuffer packed_b(pieces.PackedB(slices.depth, columns));
    for (int64_t from = 0; from < k; from += slices.depth) {
      const int64_t deep = std::min(slices.depth, k - from);
      pieces.pack_b(deep, columns, b.At(from, first), round, packed_b.data());
      pieces.multiply(m, columns, deep, packed_a.data() + from * height, packed_b.data(), c + first, ldc,
                      slices.Finish(from, finish, first));
    }
  });
}

template <bool parallel>
void Product(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c, int64_t ldc,
             const GemmOptions& options) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++)
        c[i * ldc + j] = (options.accumulate ? c[i * ldc + j] : 0.0f) + (options.bias ? options.bias[j] : 0.0f);
    return;
  }
  if (m <= kFewRows && k <= kSharedNumbers / kFewRows) {
    const BlockFinish finish{options.accumulate, options.round_to_bfloat16, options.bias};
    return NarrowProduct<parallel>(m, n, k, a, b, c, ldc, finish, options.round_to_bfloat16);
  }
  const int64_t columns = Pieces().columns;
  const int64_t deepest = std::max<int64_t>(kGemmDepth, kSharedNumbers / columns / kGemmDepth * kGemmDepth);
  for (int64_t from = 0; from < k; from += deepest) {
    const int64_t deep = std::min(deepest, k - from);
    const bool last = from + deepest >= k;
    const int64_t widest = std::max(columns, kSharedNumbers / deep / columns * columns);
    for (int64_t first = 0; first < n; first += widest) {
      const BlockFinish finish{from > 0 || options.accumulate, last && options.round_to_bfloat16,
                               last && options.bias ? options.bias + first : nullptr};
      SharedProduct<parallel>(m, std::min(widest, n - first), deep, a.At(0, from), b.At(from, first), c + first, ldc, finish,
                              options.round_to_bfloat16);
    }
  }
}

// Buffers that wait to be used again.
struct FreeBuffers {
  std::mutex mutex;
  std::vector<std::pair<float*, int64_t>> list;
};

FreeBuffers& Free() {
  static FreeBuffers* const buffers = new FreeBuffers;  // never destroyed: threads may outlive static objects
  return *buffers;
}

}  // namespace

const GemmPieces& Pieces() {
#if defined(__x86_64__)
  static const GemmPieces pieces = [] {
    if (HasAvx512()) return avx512::kPieces;
    if (HasAvx2()) return avx2::kPieces;
    return plain::kPieces;
  }();
  return pieces;
#else
  static const GemmPieces pieces = plain::kPieces;
  return pieces;
#endif
}

PackingBuffer::PackingBuffer(int64_t floats) : data_(nullptr), floats_(floats) {
  FreeBuffers& free = Free();
  {
    std::lock_guard<std::mutex> lock(free.mutex);
    // The smallest that is large enough.
    auto best = free.list.end();
    for (auto it = free.list.begin(); it != free.list.end(); ++it)
      if (it->second >= floats && (best == free.list.end() || it->second < best->second)) best = it;
    if (best != free.list.end()) {
      data_ = best->first;
      floats_ = best->second;
      free.list.erase(best);
      return;
    }
  }
  floats_ = (floats + 4095) / 4096 * 4096;
  data_ = static_cast<float*>(std::aligned_alloc(64, floats_ * sizeof(float)));
  if (data_ == nullptr) throw std::bad_alloc();
}

PackingBuffer::~PackingBuffer() {
  FreeBuffers& free = Free();
  std::lock_guard<std::mutex> lock(free.mutex);
  free.list.emplace_back(data_, floats_);
  constexpr size_t kKept = 16;
  if (free.list.size() <= kKept) return;
  // Too many: the smallest goes.
  const auto smallest =
      std::min_element(free.list.begin(), free.list.end(), [](auto& x, auto& y) { return x.second < y.second; });
  std::free(smallest->first);
  free.list.erase(smallest);
}

void Gemm(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c, int64_t ldc,
          const GemmOptions& options) {
  Product<true>(m, n, k, a, b, c, ldc, options);
}

void GemmInThread(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b, float* c, int64_t ldc,
                  const GemmOptions& options) {
  Product<false>(m, n, k, a, b, c, ldc, options);
}

}  // namespace mg
