// The gradient of attention.h: scores are computed again, block by block. Included after attention_forward.h, once per kind
// of processor.

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
void BackwardScores(const AttentionCall& call, const QueryMemory& queries, const float* k_tile, const float* v_tile,
                    int64_t b, int64_t h, int64_t from, int64_t to, int64_t key_begin, int64_t key_end, float* weights,
                    float* dscores) {
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
    const int64_t begin = key_tiles.Begin(tile), end = key_tiles.End(tile);
    const int64_t lane = begin - keys.begin, at = tile - keys.first;
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
  const int64_t per_head = 2 * rows * dim + 3 * padded + dq_size + 96;
  const int64_t per_block = 5 * (block * dim + 16) + 3 * kBlock * kBlock;
  Arena arena(ThreadMemory(repeat * per_head + per_block));

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
