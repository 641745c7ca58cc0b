/** Every operation with a gradient of its own: value against plain arithmetic, gradient against central differences. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  attention,
  embedding,
  gatherAlong,
  gelu,
  layerNorm,
  linear,
  rmsNorm,
  softmax,
  softmaxCrossEntropy,
} from "../../src/nn/index.ts";
import { jit, type Tensor, tf } from "../../src/runtime/index.ts";
import { close } from "../close.ts";

/** Smooth, deterministic values. */
const values = (shape: number[], phase: number) =>
  tf.tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(1.7 * i + phase)),
    shape,
  ) as Tensor;

const ids = tf.tensor1d([2, 0, 2, 1], "int32") as Tensor;
const labels = tf.tensor1d([1, 0, 3], "int32") as Tensor;

const operations: [name: string, f: (...inputs: Tensor[]) => Tensor, inputs: Tensor[]][] = [
  [
    "linear, few rows",
    (x, w, b) => linear(x, w, b),
    [values([2, 3, 4], 0), values([5, 4], 1), values([5], 2)],
  ],
  [
    "linear, many rows and a narrow result",
    (x, w) => linear(x, w),
    [values([1024, 3], 0), values([2, 3], 1)],
  ],
  ["embedding with repeated ids", (table) => embedding(table, ids), [values([3, 4], 0)]],
  ["layer norm", (x, g, b) => layerNorm(x, g, b), [values([3, 5], 0), values([5], 1), values([5], 2)]],
  ["RMS norm", (x, g) => rmsNorm(x, g), [values([3, 5], 0), values([5], 1)]],
  ["gelu", (x) => gelu(x), [values([12], 0)]],
  ["softmax", (x) => softmax(x), [values([3, 5], 0)]],
  [
    "attention with a bias",
    (q, k, v, b) => attention(q, k, v, b),
    [values([1, 2, 3, 4], 0), values([1, 2, 5, 4], 1), values([1, 2, 5, 4], 2), values([1, 1, 3, 5], 3)],
  ],
  ["cross entropy", (x) => softmaxCrossEntropy(x, labels), [values([3, 4], 0)]],
];

for (const [name, f, inputs] of operations) {
  test(`the gradient of ${name} is that of central differences, eagerly and jitted`, () => {
    const weighted = (...args: Tensor[]) => {
      const y = f(...args);
      return tf.sum(tf.mul(y, values(y.shape, 5))) as Tensor;
    };
    const gradients = (...args: Tensor[]) =>
      tf.grads(weighted as never)(args as never) as unknown as Tensor[];
    const eager = gradients(...inputs).map((g) => g.dataSync());
    const jitted = jit(gradients, { mode: "graph" })(...inputs).map((g) => g.dataSync());
    const step = 1e-2;
    for (const [index, input] of inputs.entries()) {
      close(jitted[index], eager[index], 1e-5);
      const size = input.size;
      for (const at of new Set([0, 1, Math.floor(size / 2), size - 1])) {
        const bump = (by: number) => {
          const data = Float32Array.from(input.dataSync());
          data[at] += by;
          const moved = inputs.map((other, i) => (i === index ? tf.tensor(data, input.shape) : other));
          return weighted(...moved).dataSync()[0];
        };
        const numeric = (bump(step) - bump(-step)) / (2 * step);
        const difference = Math.abs(eager[index][at] - numeric);
        assert.ok(
          difference <= 2e-2 * Math.max(1, Math.abs(numeric)),
          `input ${index}[${at}]: ${eager[index][at]} instead of ${numeric}`,
        );
      }
    }
  });
}

test("linear is x W^T + b in both of its forms", () => {
  for (const rows of [3, 1030]) {
    const [x, w, b] = [values([rows, 4], 0), values([2, 4], 1), values([2], 2)];
    const expected = tf.add(tf.matMul(x as never, w as never, false, true), b);
    close(linear(x, w, b).dataSync(), expected.dataSync(), 1e-6);
  }
});

test("gelu uses the exact error function", () => {
  close(
    gelu(tf.tensor1d([-2, -0.5, 0, 1, 3])).dataSync(),
    [-0.04550026, -0.15426877, 0, 0.84134475, 2.99595031],
    1e-6,
  );
});

test("gatherAlong picks along time, codebook by codebook", () => {
  const x = tf.tensor3d([10, 11, 12, 20, 21, 22], [1, 2, 3], "int32") as Tensor;
  assert.deepEqual([...gatherAlong(x, Int32Array.of(2, 0, 1, 1), 2).dataSync()], [12, 10, 21, 21]);
});
