/**
 * Linear layers and matrix products, with their gradients: one op each where our own kernels take part (`ownProducts`), else
 * TensorFlow's ops.
 */
import { attr, ownProducts, roundsProducts, runKernel, runOp, type Tensor, tf } from "../runtime/index.ts";
import { withGradient } from "./functional.ts";

/** y = x W^T + b. x [..., in], weight [out, in] (PyTorch's layout), bias [out] -> [..., out]. */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  if (x.rank === 1) return linear(x.expandDims(0), weight, bias).reshape([-1]);
  return ownProducts() ? fusedLinear(x, weight, bias) : composedLinear(x, weight, bias);
}

function fusedLinear(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
  const inputs = bias === null ? [x, weight] : [x, weight, bias];
  return withGradient(inputs, ([rows, w, b], save) => {
    save([rows, w]);
    const attrs = {
      T: attr.type("float32"),
      S: attr.int(0),
      B: attr.int(b ? 1 : 0),
      round_to_bfloat16: roundsProducts(),
    };
    const shape = [...rows.shape.slice(0, -1), w.shape[0]];
    const [value] = runKernel("MgLinear", b ? [rows, w, b] : [rows, w], attrs, [shape]);
    return {
      value,
      gradFunc: (dy, [r, v]) => {
        const [dw, db] = linearGradient(dy, r, b !== undefined);
        const dx = product(dy, v);
        return b ? [dx, dw, db] : [dx, dw];
      },
    };
  });
}

/** dy [..., out], x [..., in] -> the gradients of weight [out, in] and of bias [out], or [0] without one. */
function linearGradient(dy: Tensor, x: Tensor, bias: boolean): [dw: Tensor, db: Tensor] {
  const out = dy.shape[dy.rank - 1];
  const inner = x.shape[x.rank - 1];
  if (ownProducts()) {
    const shapes = [[out, inner], [bias ? out : 0]];
    const attrs = { bias, round_to_bfloat16: roundsProducts() };
    return runKernel("MgLinearGradient", [dy, x], attrs, shapes) as [Tensor, Tensor];
  }
  const rows = dy.reshape([-1, out]);
  const dw = product(rows, x.reshape([-1, inner]), { transposeA: true });
  return [dw, bias ? tf.sum(rows, 0) : tf.zeros([0])];
}

function composedLinear(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
  const [out, inner] = weight.shape;
  const y = withGradient([x.reshape([-1, inner]), weight], ([rows, w], save) => {
    save([rows, w]);
    return {
      value: timesTransposed(rows, w),
      gradFunc: (dy, [r, v]) => [product(dy, v), product(dy, r, { transposeA: true })],
    };
  }).reshape([...x.shape.slice(0, -1), out]);
  return bias === null ? y : tf.add(y, bias);
}

/**
 * x W^T for x [M, in], weight [out, in] -> [M, out]. TensorFlow's CPU kernel is slow where its second operand is a
 * transposed matrix: two rows take 25 times as long as (W x^T)^T, 500 rows twice as long. Only many rows and a narrow result
 * make up for the transposition of the result. (XLA folds it into the product.)
 */
function timesTransposed(x: Tensor, weight: Tensor): Tensor {
  const [out, inner] = weight.shape;
  if (x.shape[0] >= 1024 && out <= inner) return product(x, weight, { transposeB: true });
  return tf.transpose(product(weight, x, { transposeB: true }));
}

export interface ProductOptions {
  transposeA?: boolean;
  transposeB?: boolean;
}

/** a b over the last two axes, either transposed first: a [..., m, k], b [..., k, n] -> [..., m, n]; the axes before broadcast. */
export function matMul(
  a: Tensor,
  b: Tensor,
  { transposeA = false, transposeB = false }: ProductOptions = {},
): Tensor {
  return withGradient([a, b], ([x, y], save) => {
    save([x, y]);
    return {
      value: product(x, y, { transposeA, transposeB }),
      gradFunc: (dy, [x, y]) => {
        const dx = transposeA
          ? product(y, dy, { transposeA: transposeB, transposeB: true })
          : product(dy, y, { transposeB: !transposeB });
        return [summedTo(dx, x.shape), summedTo(gradientOfRight(dy, x, y.rank), y.shape)];
      },
    };
  });

  function gradientOfRight(dy: Tensor, x: Tensor, rank: number): Tensor {
    // one matrix for all: a single product over the rows of all, instead of a sum of products
    if (rank === 2 && !transposeA && x.rank >= dy.rank) {
      const [left, right] = transposeB ? [dy, x] : [x, dy];
      return linearGradient(left, right, false)[0];
    }
    return transposeB
      ? product(dy, x, { transposeA: true, transposeB: transposeA })
      : product(x, dy, { transposeA: !transposeA });
  }
}

/** The sum over the axes along which a tensor of `shape` was repeated. */
function summedTo(x: Tensor, shape: number[]): Tensor {
  const missing = x.rank - shape.length;
  const repeated = x.shape.flatMap((size, i) =>
    i < missing || (shape[i - missing] === 1 && size > 1) ? [i] : [],
  );
  return repeated.length === 0 ? x : tf.sum(x, repeated).reshape(shape);
}

/** `matMul` without gradient. Becomes our own op where that is faster (src/runtime/autocast.ts). */
function product(
  a: Tensor,
  b: Tensor,
  { transposeA = false, transposeB = false }: ProductOptions = {},
): Tensor {
  const T = attr.type("float32");
  if (a.rank === 2 && b.rank === 2) {
    return runOp("MatMul", [a, b], { T, transpose_a: transposeA, transpose_b: transposeB })[0];
  }
  return runOp("BatchMatMulV2", [a, b], { T, adj_x: transposeA, adj_y: transposeB })[0];
}
