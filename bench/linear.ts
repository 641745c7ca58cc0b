/**
 * How TensorFlow's CPU kernels multiply a batch of rows by a weight matrix, in the forms that a linear layer could use:
 *
 *     node --import tsx bench/linear.ts
 */
import { attr, jit, runOp, type Tensor, tf, Variable } from "../src/runtime/index.ts";

const layers = 12;
const matMul = (a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean) =>
  runOp("MatMul", [a, b], { T: attr.type("float32"), transpose_a: transposeA, transpose_b: transposeB })[0];
const weights = (out: number, inner: number) =>
  Array.from(
    { length: layers },
    () => new Variable([out, inner], () => tf.randomUniform([out, inner], -0.03, 0.03)),
  );
const wide = weights(4096, 1024);
const narrow = weights(1024, 4096);

function measure(rows: number, name: string, f: (x: Tensor, dy: Tensor, layer: number) => Tensor): void {
  const run = jit(
    (x: Tensor, dy: Tensor) =>
      tf.addN(Array.from({ length: layers }, (_, i) => tf.sum(f(x, dy, i))) as never[]) as Tensor,
    { mode: "graph" },
  );
  const inputs = [tf.randomUniform([rows, 1024]), tf.randomUniform([rows, 4096])] as const;
  run(...inputs).dataSync();
  const times = Array.from({ length: 5 }, () => {
    const began = performance.now();
    run(...inputs).dataSync();
    return performance.now() - began;
  }).sort((a, b) => a - b);
  const rate = (2 * rows * layers * 4096 * 1024) / times[2] / 1e6;
  console.log(
    `${String(rows).padStart(5)} rows  ${name.padEnd(28)} ${times[2].toFixed(1).padStart(8)} ms ${rate.toFixed(1).padStart(7)} GFLOP/s`,
  );
}

for (const rows of [2, 512, 2048]) {
  measure(rows, "1024 -> 4096  x W^T", (x, _, i) => matMul(x, wide[i].value, false, true));
  measure(rows, "1024 -> 4096  (W x^T)^T", (x, _, i) => tf.transpose(matMul(wide[i].value, x, false, true)));
  measure(rows, "4096 -> 1024  x W^T", (_, dy, i) => matMul(dy, narrow[i].value, false, true));
  measure(rows, "4096 -> 1024  (W x^T)^T", (_, dy, i) =>
    tf.transpose(matMul(narrow[i].value, dy, false, true)),
  );
  measure(rows, "gradient of x  dy W", (_, dy, i) => matMul(dy, wide[i].value, false, false));
}
