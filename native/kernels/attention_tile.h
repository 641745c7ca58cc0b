// The arithmetic of attention.h for vectors of kLanes floats. Included once per kind of processor, inside a namespace that
// defines kLanes: hence neither a guard nor includes. The passes are in attention_forward.h and attention_backward.h.

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
void StoreTransposed(const float* from, int64_t width, int64_t rows, int64_t columns, float* to, int64_t stride,
                     float factor) {
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
    for (int64_t c = r < whole_rows ? whole_columns : 0; c < columns; c++)
      to[r * stride + c] = factor * from[c * width + r];
}

// to[r * padded + c] = factor * from[r * stride + c]; rows up to `padded_rows` and columns up to `padded` are zeros.
void LoadRows(const float* from, int64_t stride, int64_t rows, int64_t columns, float* to, int64_t padded_rows,
              int64_t padded, float factor, bool round) {
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
