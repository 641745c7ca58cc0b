import assert from "node:assert/strict";
import { test } from "node:test";
import { lstmFused } from "../../../src/models/encodec/lstm.ts";
import { lstmSteps } from "../../../src/models/encodec/lstm_steps.ts";
import { jit, type Tensor, tf } from "../../../src/runtime/index.ts";

const [steps, batch, dim] = [5, 2, 3];
const wave = (shape: number[], seed: number): Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i)),
    shape,
  );
};
const args = [wave([steps, batch, dim], 1), wave([12, dim], 2), wave([12, dim], 3), wave([12], 4)] as const;
const weighting = wave([steps, batch, dim], 5);

const differentiated = (layer: typeof lstmSteps, mode: "graph" | "xla") =>
  jit(
    (x: Tensor, w: Tensor, u: Tensor, b: Tensor) => {
      const loss = (...inputs: Tensor[]) =>
        tf.sum(tf.mul(layer(...(inputs as [Tensor, Tensor, Tensor, Tensor])), weighting));
      return [layer(x, w, u, b), ...tf.grads(loss as never)([x, w, u, b])];
    },
    { name: "lstm", mode },
  )(...args).map((tensor) => tensor.dataSync() as Float32Array);

test("the steps' values and gradients, compiled by XLA, are those of TensorFlow's fused op", () => {
  const fused = differentiated(lstmFused, "graph");
  const single = differentiated(lstmSteps, "xla");
  for (const [k, values] of single.entries()) {
    const size = Math.max(...fused[k].map(Math.abs));
    for (const [i, value] of values.entries())
      assert.ok(Math.abs(value - fused[k][i]) < 1e-5 * size, `output ${k}, value ${i}`);
  }
});
