/** Our own ops against the compositions of TensorFlow's that they replace: values and gradients, in graphs and op by op. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { crossEntropyPerCodebook } from "../../src/losses/cross_entropy.ts";
import { gelu, layerNorm, rmsNorm } from "../../src/nn/index.ts";
import { TorchGenerator } from "../../src/random/mt19937.ts";
import { configureRuntime, jit, type Tensor, tf } from "../../src/runtime/index.ts";

after(() => configureRuntime({ kernels: true }));

const random = new TorchGenerator(5);

/** Values between `mean` - 3 and `mean` + 3. */
function values(shape: number[], mean = 0): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(
    Float32Array.from({ length: size }, () => mean + random.randint(6000) / 1000 - 3),
    shape,
  );
}

const targets = tf.tensor(
  Int32Array.from({ length: 3 * 2 * 7 }, () => random.randint(101)),
  [3, 2, 7],
  "int32",
) as Tensor;
/** Half of the cells; none of the last row of the batch. */
const mask = tf.tensor(
  Float32Array.from({ length: 3 * 2 * 7 }, (_, i) => (i < 28 ? i % 2 : 0)),
  [3, 2, 7],
) as Tensor;

// Sizes that are no multiple of a vector's, and more rows than one thread takes.
const operations: [name: string, f: (...inputs: Tensor[]) => Tensor, inputs: Tensor[]][] = [
  ["gelu", gelu, [values([3, 13])]],
  ["gelu of more values than one thread takes", gelu, [values([5, 70, 101])]],
  ["layer norm", layerNorm, [values([3, 2, 13], 2), values([13]), values([13])]],
  ["layer norm of many rows", layerNorm, [values([301, 67], 2), values([67]), values([67])]],
  ["RMS norm", rmsNorm, [values([3, 2, 13], 2), values([13])]],
  ["RMS norm of many rows", rmsNorm, [values([301, 67]), values([67])]],
  [
    "cross entropy of stacked logits",
    (logits) => crossEntropyPerCodebook(logits, targets, mask).perCodebook,
    [values([3, 2, 7, 101])],
  ],
  [
    "cross entropy of each codebook's logits, with one mask for all rows",
    (...logits) =>
      crossEntropyPerCodebook(logits, targets, mask.slice([0, 0, 0], [1, 2, 7]).reshape([2, 7])).ce,
    [values([3, 7, 101]), values([3, 7, 101])],
  ],
];

for (const [name, f, inputs] of operations) {
  for (const mode of ["graph", "none"] as const) {
    test(`${name}: value and gradients are the composition's to 1e-6 of their size, jit=${mode}`, () => {
      const seed = values(f(...inputs).shape);
      const step = jit(
        (...args: Tensor[]) => [
          f(...args),
          ...(tf.grads(((...xs: Tensor[]) => tf.sum(tf.mul(f(...xs), seed))) as never)(
            args as never,
          ) as Tensor[]),
        ],
        { mode },
      );
      const [ours, theirs] = [true, false].map((kernels) => {
        configureRuntime({ kernels });
        return step(...inputs).map((result) => result.dataSync());
      });
      for (const [i, expected] of theirs.entries()) {
        const size = expected.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        const difference = expected.reduce((a, b, j) => Math.max(a, Math.abs(b - ours[i][j])), 0);
        assert.ok(difference <= 1e-6 * size, `result ${i}: off by ${difference} of ${size}`);
      }
    });
  }
}

test("gelu has float32's accuracy from -8 to 8", () => {
  configureRuntime({ kernels: true });
  const points = [-8, -5, -3, -1, -1e-3, 0, 1e-3, 1, 3, 5, 8];
  // x Phi(x), computed in 40 digits
  const exact = [
    -4.976768459417427e-15, -1.4332578593959695e-6, -0.0040496940948902835, -0.15865525393145705,
    -0.0004996010814969171, 0.0, 0.0005003989660005342, 0.8413447460685429, 2.99595030590511,
    4.999998566742141, 7.999999999999995,
  ];
  const y = gelu(tf.tensor1d(points)).dataSync();
  for (const [i, expected] of exact.entries())
    assert.ok(
      Math.abs(y[i] - expected) <= 3e-7 * Math.abs(expected),
      `${points[i]}: ${y[i]} instead of ${expected}`,
    );
});

test("a label outside of the classes gives NaN where it counts, and nothing where it does not", () => {
  configureRuntime({ kernels: true });
  const logits = values([1, 1, 2, 5]);
  const labels = tf.tensor3d([9, 1], [1, 1, 2], "int32");
  const ce = (first: number) =>
    crossEntropyPerCodebook(logits, labels, tf.tensor3d([first, 1], [1, 1, 2])).ce.dataSync()[0];
  assert.ok(Number.isNaN(ce(1)));
  assert.ok(ce(0) > 0);
});
