// The arithmetic of attention.h for vectors of kLanes floats. Included once per kind of processor, inside a namespace that
// defines kLanes: hence neither a guard nor includes.

typedef float Vec __attribute__((vector_size(4 * kLanes), may_alias));
typedef int32_t IntVec __attribute__((vector_size(4 * kLanes), may_alias));
typedef float Quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t IntQuad __attribute__((vector_size(16)));

// Tiles that are taken together in the backward pass, so that sums stay in registers for about 100 steps.
constexpr int64_t kTilesPerBlock = std::max<int64_t>(1, 96 / (3 * kLanes));
constexpr int64_t kBlock = kTilesPerBlock * 3 * kLanes;
// Keys between two looks at the highest score in the forward pass.
constexpr int64_t kKeysPerBlock = 64;
// Score of what a query does not see: below any real one, and below any bias for masked keys.
constexpr float kHidden = -1e30f;

MG_INLINE Vec& At(float* p) { return *reinterpret_cast<Vec*>(p); }
MG_INLINE const Vec& At(const float* p) { return *reinterpret_cast<const Vec*>(p); }
MG_INLINE Vec Max(Vec a, Vec b) { return a > b ? a : b; }

// e^x for x <= 88, within 1e-7 of it; 0 below -87. x = n ln 2 + r; e^r by a minimax polynomial for |r| <= ln 2 / 2.
MG_INLINE Vec Exp(Vec x) {
  const Vec shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum's last bits are the integer
  const Vec n = shifted - 12582912.0f;
  Vec r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vec q = r * 1.3814540579915047e-3f + 8.36874544620514e-3f;
  q = q * r + 4.166838899254799e-2f;
  q = q * r + 0.1666652113199234f;
  q = q * r + 0.4999999403953552f;
  const Vec y = (r * r) * q + r + 1.0f;
  const IntVec bits = ((IntVec)y + ((IntVec)shifted << 23)) & (x > -87.0f);
  return (Vec)bits;
}

// c[r] += sum over k of a[r * row + k * step] b[k], b's rows being tiles of N vectors.
template <int N>
MG_INLINE void AddProduct(Vec (&c)[4][N], const float* a, int64_t row, int64_t step, const float* b, int64_t count) {
  for (int64_t k = 0; k < count; k++, a += step, b += N * kLanes) {
    Vec values[N];
    for (int v = 0; v < N; v++) values[v] = At(b + v * kLanes);
    for (int r = 0; r < 4; r++) {
      const float factor = a[r * row];
      for (int v = 0; v < N; v++) c[r][v] += values[v] * factor;
    }
  }
}

// to[4 rows of a tile] += the same for every 4 rows of a transposed sum [rows][N vectors].
template <int N>
void AddProducts(float* to, int64_t rows, const float* a, int64_t step, const float* b, int64_t count) {
  constexpr int64_t width = N * kLanes;
  for (int64_t d = 0; d < rows; d += 4, to += 4 * width) {
    Vec c[4][N];
    for (int r = 0; r < 4; r++)
      for (int v = 0; v < N; v++) c[r][v] = At(to + r * width + v * kLanes);
    AddProduct<N>(c, a + d, 1, step, b, count);
    for (int r = 0; r < 4; r++)
      for (int v = 0; v < N; v++) At(to + r * width + v * kLanes) = c[r][v];
  }
}

MG_INLINE Quad RoundToBfloat16(Quad x) {
  const IntQuad bits = (IntQuad)x;
  return (Quad)((bits + 0x7fff + ((bits >> 16) & 1)) & static_cast<int32_t>(0xffff0000));
}

MG_INLINE float RoundToBfloat16(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & static_cast<int32_t>(0xffff0000);
  std::memcpy(&x, &bits, 4);
  return x;
}

MG_INLINE void Transpose(Quad (&x)[4]) {
  const Quad a = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5), b = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
  const Quad c = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7), d = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
  x[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  x[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  x[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  x[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

// to[c * width + r] = factor * from[r * stride + c]; rows up to `width` and columns up to `padded` are zeros.
void LoadTransposed(const float* from, int64_t stride, int64_t rows, int64_t columns, float* to, int64_t width,
                    int64_t padded, float factor, bool round) {
  const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (int64_t r = 0; r < whole_rows; r += 4) {
    for (int64_t c = 0; c < whole_columns; c += 4) {
      Quad x[4];
      for (int i = 0; i < 4; i++) {
        x[i] = *reinterpret_cast<const Quad*>(from + (r + i) * stride + c);
        if (round) x[i] = RoundToBfloat16(x[i]);
      }
      Transpose(x);
      for (int i = 0; i < 4; i++) *reinterpret_cast<Quad*>(to + (c + i) * width + r) = x[i] * factor;
    }
  }
  for (int64_t c = 0; c < padded; c++) {
    for (int64_t r = c < whole_columns ? whole_rows : 0; r < width; r++) {
      const float x = r < rows && c < columns ? from[r * stride + c] : 0.0f;
      to[c * width + r] = factor * (round ? RoundToBfloat16(x) : x);
    }
  }
}

// to[r * stride + c] = factor * from[c * width + r]
void StoreTransposed(const float* from, int64_t width, int64_t rows, int64_t columns, float* to, int64_t stride, float factor) {
  const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (int64_t r = 0; r < whole_rows; r += 4) {
    for (int64_t c = 0; c < whole_columns; c += 4) {
      Quad x[4];
      for (int i = 0; i < 4; i++) x[i] = *reinterpret_cast<const Quad*>(from + (c + i) * width + r);
      Transpose(x);
      for (int i = 0; i < 4; i++) *reinterpret_cast<Quad*>(to + (r + i) * stride + c) = x[i] * factor;
    }
  }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; c++) to[r * stride + c] = factor * from[c * width + r];
}

// to[r * padded + c] = factor * from[r * stride + c]; rows up to `padded_rows` and columns up to `padded` are zeros.
void LoadRows(const float* from, int64_t stride, int64_t rows, int64_t columns, float* to, int64_t padded_rows, int64_t padded,
              float factor, bool round) {
  for (int64_t r = 0; r < rows; r++, from += stride, to += padded) {
    if (round)
      for (int64_t c = 0; c < columns; c++) to[c] = factor * RoundToBfloat16(from[c]);
    else
      for (int64_t c = 0; c < columns; c++) to[c] = factor * from[c];
    for (int64_t c = columns; c < padded; c++) to[c] = 0;
  }
  if (padded_rows > rows) std::memset(to, 0, (padded_rows - rows) * padded * sizeof(float));
}

// How n rows are shared among the lanes of tiles of up to 3 vectors: no tile of one vector beside a full one.
struct Tiles {
  explicit Tiles(int64_t n) : n(n) {
    const int64_t vectors = (n + kLanes - 1) / kLanes;
    full = vectors % 3 == 1 && vectors > 1 ? vectors / 3 - 1 : vectors / 3;
    rest = vectors - 3 * full;  // 0, 1, 2 or 4
    count = full + (rest + 1) / 2;
  }
  int64_t Vectors(int64_t tile) const { return tile < full ? 3 : std::min<int64_t>(rest, 2); }
  int64_t Begin(int64_t tile) const { return (3 * std::min(tile, full) + 2 * std::max<int64_t>(0, tile - full)) * kLanes; }
  int64_t End(int64_t tile) const { return std::min(n, Begin(tile) + Vectors(tile) * kLanes); }
  int64_t Lanes() const { return (3 * full + rest) * kLanes; }

  int64_t n, full, rest, count;
};

MG_INLINE IntVec LaneNumbers() {
  IntVec lanes;
  for (int i = 0; i < kLanes; i++) lanes[i] = i;
  return lanes;
}

struct ForwardMemory {
  float *k, *v, *q, *y, *scores, *bias;
};

// Queries [begin, end) of one head, in a tile of N vectors.
template <int N>
void ForwardTile(const AttentionCall& call, const ForwardMemory& memory, int64_t b, int64_t h, int64_t begin, int64_t end) {
  constexpr int64_t width = N * kLanes;
  const int64_t dim = call.padded_dim(), offset = call.offset(), rows = end - begin;
  const bool has_bias = call.bias.data != nullptr, has_bias_tile = has_bias && call.bias.row != 0;
  const int64_t first = call.window < 0 ? 0 : std::max<int64_t>(0, begin + offset - call.window) / 4 * 4;
  const int64_t last = call.causal ? end + offset : call.keys;
  LoadTransposed(call.q.At(b, h, begin), call.q.row, rows, call.head_dim, memory.q, width, dim, call.scale, call.bfloat16);
  IntVec lanes[N];
  for (int v = 0; v < N; v++) lanes[v] = LaneNumbers() + static_cast<int32_t>(begin + offset + v * kLanes);
  Vec highest[N], sum[N];
  for (int v = 0; v < N; v++) highest[v] = Vec{} + kHidden, sum[v] = Vec{};
  for (int64_t k0 = first; k0 < last; k0 += kKeysPerBlock) {
    const int64_t count = std::min(kKeysPerBlock, last - k0);
    if (has_bias_tile)
      LoadTransposed(call.bias.At(b, h, begin) + k0, call.bias.row, rows, count, memory.bias, width, kKeysPerBlock, 1, false);
    Vec high[N];
    for (int v = 0; v < N; v++) high[v] = highest[v];
    for (int64_t k = 0; k < count; k += 4) {
      Vec c[4][N] = {};
      AddProduct<N>(c, memory.k + (k0 + k) * dim, dim, 1, memory.q, dim);
      if (has_bias_tile) {
        for (int r = 0; r < 4; r++)
          for (int v = 0; v < N; v++) c[r][v] += At(memory.bias + (k + r) * width + v * kLanes);
      } else if (has_bias) {
        const float* bias = call.bias.At(b, h, 0) + k0 + k;
        for (int r = 0; r < 4 && k0 + k + r < call.keys; r++)
          for (int v = 0; v < N; v++) c[r][v] += bias[r];
      }
      const bool at_edge = k0 + k + 4 > last || (call.causal && k0 + k + 3 > begin + offset) ||
                           (call.window >= 0 && k0 + k < end - 1 + offset - call.window);
      if (at_edge) {
        for (int r = 0; r < 4; r++) {
          const int32_t key = static_cast<int32_t>(k0 + k + r);
          for (int v = 0; v < N; v++) {
            IntVec hidden = key < last ? IntVec{} : ~IntVec{};
            if (call.causal) hidden |= lanes[v] < key;
            if (call.window >= 0) hidden |= lanes[v] > static_cast<int32_t>(key + call.window);
            c[r][v] = hidden ? Vec{} + kHidden : c[r][v];
          }
        }
      }
      for (int r = 0; r < 4; r++) {
        for (int v = 0; v < N; v++) {
          At(memory.scores + (k + r) * width + v * kLanes) = c[r][v];
          high[v] = Max(c[r][v], high[v]);
        }
      }
    }
    Vec decay[N];
    for (int v = 0; v < N; v++) {
      decay[v] = Exp(highest[v] - high[v]);
      sum[v] *= decay[v];
      highest[v] = high[v];
    }
    for (int64_t k = 0; k < count; k++) {
      for (int v = 0; v < N; v++) {
        Vec& score = At(memory.scores + k * width + v * kLanes);
        score = Exp(score - high[v]);
        sum[v] += score;
      }
    }
    for (int64_t d = 0; d < dim; d += 4) {
      Vec c[4][N] = {};
      float* y = memory.y + d * width;
      if (k0 != first)
        for (int r = 0; r < 4; r++)
          for (int v = 0; v < N; v++) c[r][v] = At(y + r * width + v * kLanes) * decay[v];
      AddProduct<N>(c, memory.v + k0 * dim + d, 1, dim, memory.scores, count);
      for (int r = 0; r < 4; r++)
        for (int v = 0; v < N; v++) At(y + r * width + v * kLanes) = c[r][v];
    }
  }
  alignas(64) float inverse[width], top[width];
  for (int v = 0; v < N; v++) {
    At(inverse + v * kLanes) = 1.0f / sum[v];
    At(top + v * kLanes) = highest[v];
    for (int64_t d = 0; d < dim; d++) At(memory.y + d * width + v * kLanes) *= At(inverse + v * kLanes);
  }
  StoreTransposed(memory.y, width, rows, call.head_dim, call.y.At(b, h, begin), call.y.row, 1);
  float* stats = call.stats + (b * call.heads + h) * 2 * call.queries + begin;
  std::memcpy(stats, top, rows * sizeof(float));
  std::memcpy(stats + call.queries, inverse, rows * sizeof(float));
}

void Forward(const AttentionCall& call, int64_t task) {
  const int64_t part = task % call.parts, pair = task / call.parts, b = pair / call.kv_heads, g = pair % call.kv_heads;
  const int64_t dim = call.padded_dim(), keys = (call.keys + 3) / 4 * 4, widest = 3 * kLanes;
  const int64_t sizes[] = {keys * dim, keys * dim, widest * dim, widest * dim, widest * kKeysPerBlock, widest * kKeysPerBlock};
  int64_t total = 0;
  for (const int64_t size : sizes) total += (size + 15) / 16 * 16;
  Arena arena(ThreadMemory(total));
  ForwardMemory memory;
  float** const pieces[] = {&memory.k, &memory.v, &memory.q, &memory.y, &memory.scores, &memory.bias};
  for (int i = 0; i < 6; i++) *pieces[i] = arena.Take(sizes[i]);
  LoadRows(call.k.At(b, g, 0), call.k.row, call.keys, call.head_dim, memory.k, keys, dim, 1, call.bfloat16);
  LoadRows(call.v.At(b, g, 0), call.v.row, call.keys, call.head_dim, memory.v, keys, dim, 1, call.bfloat16);
  const Tiles tiles(call.queries);
  for (int64_t h = g * call.repeat(); h < (g + 1) * call.repeat(); h++) {
    for (int64_t tile = part; tile < tiles.count; tile += call.parts) {
      const int64_t begin = tiles.Begin(tile), end = tiles.End(tile);
      switch (tiles.Vectors(tile)) {
        case 1: ForwardTile<1>(call, memory, b, h, begin, end); break;
        case 2: ForwardTile<2>(call, memory, b, h, begin, end); break;
        default: ForwardTile<3>(call, memory, b, h, begin, end);
      }
    }
  }
}

// What the gradient keeps of the queries of one head, all of them, and of a block of keys.
struct QueryMemory {
  float *q, *dy, *delta, *highest, *inverse;  // [S + 4 rows], q times the scale; delta = sum(dy y)
  float* dq;                                  // tiles [Dh][lanes]
};
struct KeyMemory {
  float *k, *k_tiles, *v_tiles, *dk_tiles, *dv_tiles;
  float *weights, *dscores, *dscores_transposed;  // tiles of kBlock rows
};

// Weights and gradients of the scores of queries [from, to) (in steps of 4) and a tile of keys, [rows][N vectors] each.
template <int N>
void BackwardScores(const AttentionCall& call, const QueryMemory& queries, const float* k_tile, const float* v_tile, int64_t b,
                    int64_t h, int64_t from, int64_t to, int64_t key_begin, int64_t key_end, float* weights, float* dscores) {
  constexpr int64_t width = N * kLanes;
  const int64_t dim = call.padded_dim(), offset = call.offset();
  IntVec lanes[N];
  for (int v = 0; v < N; v++) lanes[v] = LaneNumbers() + static_cast<int32_t>(key_begin + v * kLanes);
  alignas(64) float bias[width] = {};
  const bool has_bias = call.bias.data != nullptr;
  for (int64_t i = from; i < to; i += 4, weights += 4 * width, dscores += 4 * width) {
    Vec c[4][N] = {};
    AddProduct<N>(c, queries.q + i * dim, dim, 1, k_tile, dim);
    const bool at_edge = key_end - key_begin < width || (call.causal && key_end - 1 > i + offset) ||
                         (call.window >= 0 && key_begin < i + 3 + offset - call.window);
    for (int r = 0; r < 4; r++) {
      if (has_bias && i + r < call.queries) {
        std::memcpy(bias, call.bias.At(b, h, i + r) + key_begin, (key_end - key_begin) * sizeof(float));
        for (int v = 0; v < N; v++) c[r][v] += At(bias + v * kLanes);
      }
      const int32_t newest = static_cast<int32_t>(call.causal ? std::min(i + r + offset, key_end - 1) : key_end - 1);
      const int32_t oldest = static_cast<int32_t>(call.window < 0 ? 0 : i + r + offset - call.window);
      for (int v = 0; v < N; v++) {
        Vec weight = Exp(c[r][v] - queries.highest[i + r]) * queries.inverse[i + r];
        if (at_edge) weight = (Vec)((IntVec)weight & (lanes[v] <= newest) & (lanes[v] >= oldest));
        At(weights + r * width + v * kLanes) = weight;
      }
    }
    for (int r = 0; r < 4; r++)
      for (int v = 0; v < N; v++) c[r][v] = Vec{};
    AddProduct<N>(c, queries.dy + i * dim, dim, 1, v_tile, dim);
    for (int r = 0; r < 4; r++)
      for (int v = 0; v < N; v++)
        At(dscores + r * width + v * kLanes) = At(weights + r * width + v * kLanes) * (c[r][v] - queries.delta[i + r]);
  }
}

// Queries and keys of one block: which tiles, and where they lie.
struct Span {
  Span(const Tiles& tiles, int64_t block)
      : first(block * kTilesPerBlock),
        last(std::min(tiles.count, first + kTilesPerBlock)),
        begin(tiles.Begin(first)),
        end(tiles.End(last - 1)) {}
  int64_t first, last, begin, end;
};

// The keys of one block and the queries of one block: adds to dk and dv of the block, and to dq.
void BackwardBlock(const AttentionCall& call, const QueryMemory& queries, const KeyMemory& memory, int64_t b, int64_t h,
                   const Tiles& key_tiles, const Span& keys, const Tiles& query_tiles, const Span& rows) {
  const int64_t dim = call.padded_dim(), offset = call.offset();
  int64_t from[kTilesPerBlock + 1], to[kTilesPerBlock + 1];  // the queries that see a tile of keys
  for (int64_t tile = keys.first; tile < keys.last; tile++) {
    const int64_t begin = key_tiles.Begin(tile), end = key_tiles.End(tile), lane = begin - keys.begin, at = tile - keys.first;
    from[at] = rows.begin, to[at] = rows.end;
    if (call.causal) from[at] += std::max<int64_t>(0, begin - offset - rows.begin) / 4 * 4;
    if (call.window >= 0) to[at] = std::min(to[at], end + call.window - offset);
    if (from[at] >= to[at]) continue;
    const int64_t width = key_tiles.Vectors(tile) * kLanes, skipped = from[at] - rows.begin, count = to[at] - from[at];
    float* weights = memory.weights + kBlock * lane + skipped * width;
    float* dscores = memory.dscores + kBlock * lane + skipped * width;
    const float *k_tile = memory.k_tiles + lane * dim, *v_tile = memory.v_tiles + lane * dim;
    const auto add = [&](auto vectors) {
      constexpr int n = decltype(vectors)::value;
      BackwardScores<n>(call, queries, k_tile, v_tile, b, h, from[at], to[at], begin, end, weights, dscores);
      AddProducts<n>(memory.dv_tiles + lane * dim, dim, queries.dy + from[at] * dim, dim, weights, count);
      AddProducts<n>(memory.dk_tiles + lane * dim, dim, queries.q + from[at] * dim, dim, dscores, count);
    };
    if (width == kLanes) add(std::integral_constant<int, 1>());
    else if (width == 2 * kLanes) add(std::integral_constant<int, 2>());
    else add(std::integral_constant<int, 3>());
    if (call.dbias.data != nullptr) {
      for (int64_t i = from[at]; i < to[at]; i++) {
        float* sum = call.dbias.At(b, h, i) + begin;
        for (int64_t j = 0; j < end - begin; j++) sum[j] += dscores[(i - from[at]) * width + j];
      }
    }
  }
  for (int64_t tile = rows.first; tile < rows.last; tile++) {
    const int64_t begin = query_tiles.Begin(tile), end = query_tiles.End(tile), width = query_tiles.Vectors(tile) * kLanes;
    // The keys that these queries see: whole tiles, of which some rows may not have been computed.
    int64_t low = keys.end, high = keys.begin;
    for (int64_t other = keys.first; other < keys.last; other++) {
      const int64_t at = other - keys.first;
      if (std::max(from[at], begin) >= std::min(to[at], end)) continue;
      const int64_t key_begin = key_tiles.Begin(other), key_end = key_tiles.End(other), lane = key_begin - keys.begin;
      const int64_t key_width = key_tiles.Vectors(other) * kLanes;
      float* dscores = memory.dscores + kBlock * lane + (begin - rows.begin) * key_width;
      for (int64_t i = begin; i < std::min(from[at], end); i++)
        std::memset(dscores + (i - begin) * key_width, 0, key_width * sizeof(float));
      for (int64_t i = std::max(to[at], begin); i < end; i++)
        std::memset(dscores + (i - begin) * key_width, 0, key_width * sizeof(float));
      low = std::min(low, key_begin), high = std::max(high, key_end);
      LoadTransposed(dscores, key_width, end - begin, key_end - key_begin, memory.dscores_transposed + lane * width, width,
                     key_end - key_begin, 1, false);
    }
    if (low >= high) continue;
    float* dq = queries.dq + begin * dim;
    const float *k = memory.k + (low - keys.begin) * dim, *dscores = memory.dscores_transposed + (low - keys.begin) * width;
    if (width == kLanes) AddProducts<1>(dq, dim, k, dim, dscores, high - low);
    else if (width == 2 * kLanes) AddProducts<2>(dq, dim, k, dim, dscores, high - low);
    else AddProducts<3>(dq, dim, k, dim, dscores, high - low);
  }
}

void StoreQueryGradient(const AttentionCall& call, const float* dq, int64_t b, int64_t h) {
  const Tiles tiles(call.queries);
  for (int64_t tile = 0; tile < tiles.count; tile++) {
    const int64_t begin = tiles.Begin(tile), end = tiles.End(tile), width = tiles.Vectors(tile) * kLanes;
    StoreTransposed(dq + begin * call.padded_dim(), width, end - begin, call.head_dim, call.dq.At(b, h, begin), call.dq.row,
                    call.scale);
  }
}

int64_t PartialSize(const AttentionCall& call) { return Tiles(call.queries).Lanes() * call.padded_dim(); }

void Backward(const AttentionCall& call, int64_t task) {
  const int64_t part = task % call.parts, pair = task / call.parts, b = pair / call.kv_heads, g = pair % call.kv_heads;
  const int64_t dim = call.padded_dim(), rows = call.queries + 4, repeat = call.repeat(), dq_size = PartialSize(call);
  const Tiles query_tiles(call.queries), key_tiles(call.keys);
  const int64_t block = std::min(kBlock, key_tiles.Lanes()), padded = (rows + 15) / 16 * 16;
  Arena arena(ThreadMemory(repeat * (2 * rows * dim + 3 * padded + dq_size + 96) + 5 * (block * dim + 16) + 3 * kBlock * kBlock));

  std::vector<QueryMemory> heads(repeat);
  for (int64_t r = 0; r < repeat; r++) {
    const int64_t h = g * repeat + r;
    QueryMemory& head = heads[r];
    head.q = arena.Take(rows * dim);
    head.dy = arena.Take(rows * dim);
    for (float** piece : {&head.delta, &head.highest, &head.inverse}) *piece = arena.Take(padded);
    head.dq = call.parts > 1 ? call.partial + ((b * call.heads + h) * call.parts + part) * dq_size : arena.Take(dq_size);
    std::memset(head.dq, 0, dq_size * sizeof(float));
    LoadRows(call.q.At(b, h, 0), call.q.row, call.queries, call.head_dim, head.q, rows, dim, call.scale, call.bfloat16);
    LoadRows(call.dy.At(b, h, 0), call.dy.row, call.queries, call.head_dim, head.dy, rows, dim, 1, false);
    const float* stats = call.stats + (b * call.heads + h) * 2 * call.queries;
    std::memset(head.delta, 0, 3 * padded * sizeof(float));
    std::memcpy(head.highest, stats, call.queries * sizeof(float));
    std::memcpy(head.inverse, stats + call.queries, call.queries * sizeof(float));
    for (int64_t i = 0; i < call.queries; i++) {
      const float *y = call.y.At(b, h, i), *dy = head.dy + i * dim;
      Quad sums = {};
      int64_t d = 0;
      for (; d + 4 <= call.head_dim; d += 4)
        sums += *reinterpret_cast<const Quad*>(y + d) * *reinterpret_cast<const Quad*>(dy + d);
      for (; d < call.head_dim; d++) sums[0] += y[d] * dy[d];
      head.delta[i] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
  }
  KeyMemory memory;
  for (float** piece : {&memory.k, &memory.k_tiles, &memory.v_tiles, &memory.dk_tiles, &memory.dv_tiles})
    *piece = arena.Take(block * dim);
  for (float** piece : {&memory.weights, &memory.dscores, &memory.dscores_transposed}) *piece = arena.Take(kBlock * kBlock);

  const int64_t query_blocks = (query_tiles.count + kTilesPerBlock - 1) / kTilesPerBlock;
  const int64_t key_blocks = (key_tiles.count + kTilesPerBlock - 1) / kTilesPerBlock;
  for (int64_t key_block = part; key_block < key_blocks; key_block += call.parts) {
    const Span keys(key_tiles, key_block);
    LoadRows(call.k.At(b, g, keys.begin), call.k.row, keys.end - keys.begin, call.head_dim, memory.k, keys.end - keys.begin,
             dim, 1, call.bfloat16);
    for (int64_t tile = keys.first; tile < keys.last; tile++) {
      const int64_t begin = key_tiles.Begin(tile), count = key_tiles.End(tile) - begin;
      const int64_t width = key_tiles.Vectors(tile) * kLanes, at = (begin - keys.begin) * dim;
      LoadTransposed(memory.k + at, dim, count, dim, memory.k_tiles + at, width, dim, 1, false);
      LoadTransposed(call.v.At(b, g, begin), call.v.row, count, call.head_dim, memory.v_tiles + at, width, dim, 1,
                     call.bfloat16);
    }
    std::memset(memory.dk_tiles, 0, block * dim * sizeof(float));
    std::memset(memory.dv_tiles, 0, block * dim * sizeof(float));
    for (int64_t r = 0; r < repeat; r++) {
      for (int64_t query_block = 0; query_block < query_blocks; query_block++) {
        const Span span(query_tiles, query_block);
        if (call.causal && span.end - 1 + call.offset() < keys.begin) continue;
        if (call.window >= 0 && span.begin + call.offset() - call.window > keys.end - 1) continue;
        BackwardBlock(call, heads[r], memory, b, g * repeat + r, key_tiles, keys, query_tiles, span);
      }
    }
    for (int64_t tile = keys.first; tile < keys.last; tile++) {
      const int64_t begin = key_tiles.Begin(tile), count = key_tiles.End(tile) - begin;
      const int64_t width = key_tiles.Vectors(tile) * kLanes, at = (begin - keys.begin) * dim;
      StoreTransposed(memory.dk_tiles + at, width, count, call.head_dim, call.dk.At(b, g, begin), call.dk.row, 1);
      StoreTransposed(memory.dv_tiles + at, width, count, call.head_dim, call.dv.At(b, g, begin), call.dv.row, 1);
    }
  }
  if (call.parts == 1)
    for (int64_t r = 0; r < repeat; r++) StoreQueryGradient(call, heads[r].dq, b, g * repeat + r);
}

void SumPartials(const AttentionCall& call, int64_t head) {
  const int64_t size = PartialSize(call);
  float* sum = call.partial + head * call.parts * size;
  for (int64_t part = 1; part < call.parts; part++)
    for (int64_t i = 0; i < size; i += kLanes) At(sum + i) += At(sum + part * size + i);
  StoreQueryGradient(call, sum, head / call.heads, head % call.heads);
}

constexpr AttentionKernels kernels = {Forward, Backward, SumPartials, PartialSize};
