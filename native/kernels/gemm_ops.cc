// Matrix products as ops of TensorFlow: MgMatMul for batches of matrices, MgLinear and MgLinearGradient for linear layers.
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "gemm.h"
#include "gemm_rows.h"
#include "op.h"
#include "parallel.h"
#include "vectors.h"

namespace mg {
namespace {

std::string Text(const Shape& shape) {
  std::string text;
  for (const int64_t dim : shape) text += (text.empty() ? "" : ", ") + std::to_string(dim);
  return "[" + text + "]";
}

// a [..., m, k] b [..., k, n] -> [..., m, n]; the dimensions before are equal, or broadcast as NumPy's are.
struct MatMul {
  explicit MatMul(const Attributes& attributes)
      : transpose_a(attributes.Bool("transpose_a")),
        transpose_b(attributes.Bool("transpose_b")),
        round(attributes.Bool("round_to_bfloat16")) {}

  void Compute(Call& call) {
    const TensorView a = call.Input(0), b = call.Input(1);
    const Shape& as = a.shape();
    const Shape& bs = b.shape();
    if (as.size() < 2 || bs.size() < 2) Refuse(as, bs);
    const int64_t a_rows = a.dim(-2), a_columns = a.dim(-1), b_rows = b.dim(-2), b_columns = b.dim(-1);
    int64_t m = transpose_a ? a_columns : a_rows;
    const int64_t k = transpose_a ? a_rows : a_columns;
    const int64_t n = transpose_b ? b_rows : b_columns;
    if (k != (transpose_b ? b_columns : b_rows)) Refuse(as, bs);

    Shape batch(std::max(as.size(), bs.size()) - 2);
    for (size_t i = 0; i < batch.size(); i++) {
      const int64_t ad = Dimension(as, batch.size(), i), bd = Dimension(bs, batch.size(), i);
      if (ad != bd && ad != 1 && bd != 1) Refuse(as, bs);
      batch[i] = ad == 1 ? bd : ad;
    }
    Shape shape = batch;
    shape.push_back(m);
    shape.push_back(n);
    const TensorView c = call.Output(0, shape);
    int64_t count = Product(batch);
    // One matrix for all: the rows of the others are rows of one product.
    if (Product(bs, 0, bs.size() - 2) == 1 && !transpose_a) {
      m *= count;
      count = 1;
    }
    GemmOptions options;
    options.round_to_bfloat16 = round;
    const auto one = [&](int64_t i, bool in_thread) {
      const float* x = a.floats() + Place(as, batch, i) * a_rows * a_columns;
      const float* y = b.floats() + Place(bs, batch, i) * b_rows * b_columns;
      float* z = c.floats() + i * m * n;
      if (m < ManyRows(round) && transpose_b && !transpose_a) {
        const Weights weights{y, WeightType::kFloat32, nullptr};
        return (in_thread ? MultiplyRowsInThread : MultiplyRows)(m, n, k, x, k, weights, nullptr, round, z, n);
      }
      (in_thread ? GemmInThread : Gemm)(m, n, k, transpose_a ? Transposed(x, a_columns) : RowMajor(x, a_columns),
                                        transpose_b ? Transposed(y, b_columns) : RowMajor(y, b_columns), z, n, options);
    };
    // Small ones are shared out whole.
    const bool whole = count >= 4 * Threads() || (count > 1 && m * n * k <= (64 << 10));
    if (!whole) {
      for (int64_t i = 0; i < count; i++) one(i, false);
    } else {
      const int64_t grain = std::max<int64_t>(1, (1 << 18) / std::max<int64_t>(1, m * n * k));
      ParallelFor(count, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) one(i, true);
      });
    }
  }

 private:
  [[noreturn]] void Refuse(const Shape& a, const Shape& b) const {
    throw std::invalid_argument("cannot multiply " + Text(a) + (transpose_a ? " (transposed) by " : " by ") + Text(b) +
                                (transpose_b ? " (transposed)" : ""));
  }

  // The i-th of `rank` batch dimensions.
  static int64_t Dimension(const Shape& shape, size_t rank, size_t i) {
    const size_t missing = rank + 2 - shape.size();
    return i < missing ? 1 : shape[i - missing];
  }

  // Which of the matrices of a tensor is the `index`-th of the batch.
  static int64_t Place(const Shape& shape, const Shape& batch, int64_t index) {
    int64_t place = 0, stride = 1;
    for (size_t i = batch.size(); i-- > 0;) {
      const int64_t dim = Dimension(shape, batch.size(), i);
      if (dim != 1) place += index % batch[i] * stride;
      index /= batch[i];
      stride *= dim;
    }
    return place;
  }

  const bool transpose_a, transpose_b, round;
};

// y = x W^T + b: x [..., k], weight [n, k] -> [..., n]. Weights of 8 bits have one scale for each row; the bias may be missing.
struct Linear {
  explicit Linear(const Attributes& attributes)
      : scaled(attributes.Int("S") > 0), biased(attributes.Int("B") > 0), round(attributes.Bool("round_to_bfloat16")) {}

  void Compute(Call& call) {
    const TensorView x = call.Input(0), weight = call.Input(1);
    const TensorView scales = scaled ? call.Input(2) : TensorView();
    const TensorView bias = biased ? call.Input(2 + scaled) : TensorView();
    if (x.shape().empty() || weight.shape().size() != 2 || x.dim(-1) != weight.dim(1))
      throw std::invalid_argument("a linear layer with weights " + Text(weight.shape()) + " cannot take " + Text(x.shape()));
    const int64_t n = weight.dim(0), k = weight.dim(1), m = Product(x.shape(), 0, x.shape().size() - 1);
    if (scaled != (weight.dtype() == TF_INT8) || (scaled && scales.size() != n))
      throw std::invalid_argument("weights of 8 bits, and no others, need a scale for each row");
    if (biased && bias.size() != n) throw std::invalid_argument("the bias has not the size of the weights' rows");
    Shape shape = x.shape();
    shape.back() = n;
    const TensorView y = call.Output(0, shape);
    const float* b = biased ? bias.floats() : nullptr;
    const Weights weights{weight.data<void>(),
                          weight.dtype() == TF_FLOAT      ? WeightType::kFloat32
                          : weight.dtype() == TF_BFLOAT16 ? WeightType::kBfloat16
                                                          : WeightType::kInt8,
                          scaled ? scales.floats() : nullptr};
    if (m < ManyRows(round)) return MultiplyRows(m, n, k, x.floats(), k, weights, b, round, y.floats(), n);
    GemmOptions options;
    options.round_to_bfloat16 = round;
    options.bias = b;
    if (weights.type == WeightType::kFloat32)
      return Gemm(m, n, k, RowMajor(x.floats(), k), Transposed(weight.floats(), k), y.floats(), n, options);
    // Some rows of the weights at a time become float32.
    const int64_t part = std::max<int64_t>(64, (1 << 20) / std::max<int64_t>(1, k));
    const PackingBuffer floats(std::min(part, n) * k);
    for (int64_t row = 0; row < n; row += part) {
      const int64_t rows = std::min(part, n - row);
      ConvertWeights(rows, k, weights.From(row, k), floats.data());
      options.bias = b == nullptr ? nullptr : b + row;
      options.round_to_bfloat16 = round && !scaled;
      Gemm(m, rows, k, RowMajor(x.floats(), k), Transposed(floats.data(), k), y.floats() + row, n, options);
    }
  }

  const bool scaled, biased, round;
};

// Adds `rows` rows of [.., columns] into sums [columns].
MG_VECTORIZED void AddRows(const float* x, int64_t rows, int64_t stride, int64_t columns, float* __restrict sums) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) sums[j] += x[i * stride + j];
}

// The sum of each column of x [m, n].
void SumColumns(const float* x, int64_t m, int64_t n, float* sums) {
  constexpr int64_t kColumns = 256, kRows = 64;
  ParallelFor((n + kColumns - 1) / kColumns, m * n > (1 << 15) ? 1 : n, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin * kColumns; first < std::min(n, end * kColumns); first += kColumns) {
      const int64_t columns = std::min(kColumns, n - first);
      std::memset(sums + first, 0, columns * sizeof(float));
      // Some rows at a time, so that small numbers are not added to a large sum.
      for (int64_t i = 0; i < m; i += kRows) {
        float part[kColumns] = {};
        AddRows(x + i * n + first, std::min(kRows, m - i), n, columns, part);
        AddRows(part, 1, columns, columns, sums + first);
      }
    }
  });
}

// The gradients of a linear layer's weight and bias: dW = dy^T x, db = the sum of dy's rows.
// dy [..., n], x [..., k] -> dW [n, k], db [n], or [0] without a bias.
struct LinearGradient {
  explicit LinearGradient(const Attributes& attributes)
      : biased(attributes.Bool("bias")), round(attributes.Bool("round_to_bfloat16")) {}

  void Compute(Call& call) {
    const TensorView dy = call.Input(0), x = call.Input(1);
    if (dy.shape().empty() || x.shape().empty() || dy.size() / std::max<int64_t>(1, dy.dim(-1)) * x.dim(-1) != x.size())
      throw std::invalid_argument("a linear layer's " + Text(dy.shape()) + " does not come from " + Text(x.shape()));
    const int64_t n = dy.dim(-1), k = x.dim(-1), m = Product(x.shape(), 0, x.shape().size() - 1);
    const TensorView dw = call.Output(0, {n, k});
    const TensorView db = call.Output(1, {biased ? n : 0});
    GemmOptions options;
    options.round_to_bfloat16 = round;
    Gemm(n, k, m, Transposed(dy.floats(), n), RowMajor(x.floats(), k), dw.floats(), k, options);
    if (biased) SumColumns(dy.floats(), m, n, db.floats());
  }

  const bool biased, round;
};

const bool registered[] = {
    RegisterOp<MatMul>("MgMatMul", {"a: float", "b: float"}, {"c: float"},
                       {"transpose_a: bool = false", "transpose_b: bool = false", "round_to_bfloat16: bool = false"}),
    RegisterOp<Linear>("MgLinear", {"x: float", "weight: T", "scales: S * float", "bias: B * float"}, {"y: float"},
                       {"T: {float, bfloat16, int8}", "S: int >= 0 = 0", "B: int >= 0 = 0", "round_to_bfloat16: bool = false"}),
    RegisterOp<LinearGradient>("MgLinearGradient", {"dy: float", "x: float"}, {"dw: float", "db: float"},
                               {"bias: bool = false", "round_to_bfloat16: bool = false"}),
};

}  // namespace
}  // namespace mg
