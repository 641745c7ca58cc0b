// Attention without score matrices in memory: blocks of scores live in a core's cache for as long as they are used
// (Dao et al. 2022, arXiv 2205.14135; Rabe and Staats 2021, arXiv 2112.05682).
//
// Scores are computed in tiles that are transposed so that the softmax runs down the vectors' lanes: forward, lanes are
// queries; backward, lanes are keys. Every product is then one kernel, 4 rows times a tile of up to 3 vectors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace mg {

// One of a tensor's [batch, head, row, Dh] views. Strides count floats; the values of a row are neighbours.
struct Rows {
  float* data = nullptr;
  int64_t batch = 0, head = 0, row = 0;
  float* At(int64_t b, int64_t h, int64_t i) const { return data + b * batch + h * head + i * row; }
};

struct AttentionCall {
  int64_t batch, heads, kv_heads, queries, keys, head_dim;
  float scale;
  // The last query sees all keys, each one before it one less.
  bool causal;
  // How many keys before its own a query sees; negative for all.
  int64_t window;
  // Whether q, k and v are rounded to bfloat16.
  bool bfloat16;
  Rows q, k, v, y;
  // Added to the scores, [batch, head, query, key], with strides of 0 where it is broadcast; data is null without one.
  Rows bias;
  // [B, H, 2, S]: every query's highest score and 1 / the sum of exp(score - highest).
  float* stats;

  // For the gradient.
  Rows dy, dq, dk, dv;
  Rows dbias;
  // [parts, B, H, S, Dh]-sized partial sums of dq, when several tasks share a head.
  float* partial = nullptr;

  // Tasks that work on one (batch, head of keys), each on its share of the tiles.
  int64_t parts = 1;

  int64_t tasks() const { return batch * kv_heads * parts; }
  int64_t repeat() const { return heads / kv_heads; }
  int64_t padded_dim() const { return (head_dim + 3) / 4 * 4; }
  // Keys that the first query does not see, being causal: 0 when there are as many keys as queries.
  int64_t offset() const { return keys - queries; }
};

// A thread's own memory, which stays for the next call. Aligned to 64 bytes.
float* ThreadMemory(int64_t floats);

// Hands out pieces of a thread's memory.
class Arena {
 public:
  explicit Arena(float* at) : at_(at) {}
  float* Take(int64_t floats) {
    float* piece = at_;
    at_ += (floats + 15) / 16 * 16;
    return piece;
  }

 private:
  float* at_;
};

// The implementation for one kind of processor.
struct AttentionKernels {
  void (*forward)(const AttentionCall&, int64_t task);
  void (*backward)(const AttentionCall&, int64_t task);
  // Adds the parts of dq of one (batch, head) up.
  void (*sum_partials)(const AttentionCall&, int64_t head);
  int64_t (*partial_size)(const AttentionCall&);
};

}  // namespace mg
