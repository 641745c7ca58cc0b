// The forward pass of attention.h. Included after attention_tile.h, once per kind of processor.

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
      LoadTransposed(call.bias.At(b, h, begin) + k0, call.bias.row, rows, count, memory.bias, width, kKeysPerBlock, 1,
                     false);
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
  const int64_t scores = widest * kKeysPerBlock;
  const int64_t sizes[] = {keys * dim, keys * dim, widest * dim, widest * dim, scores, scores};
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
