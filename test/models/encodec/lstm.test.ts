/** The fused LSTM against the equations in double precision. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { lstmFused, lstmLayer, ResidualLSTM } from "../../../src/models/encodec/lstm.ts";
import { lstmLoop } from "../../../src/models/encodec/lstm_loop.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { configureRuntime, jit, type Scalar, type Tensor, tf } from "../../../src/runtime/index.ts";
import { assertGradients } from "./numeric_gradient.ts";
import { assertSameWithKernels, normal } from "./with_kernels.ts";

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** PyTorch's LSTM: rows of the weights are the gates input, forget, cell, output. x [T, B, I] -> h [T, B, D]. */
function reference(steps: number, batch: number, inner: number, dimension: number) {
  return ([x, inputWeights, recurrentWeights, bias]: Float64Array[]): Float64Array => {
    const outputs = new Float64Array(steps * batch * dimension);
    for (let b = 0; b < batch; b++) {
      let hidden = new Float64Array(dimension);
      const cell = new Float64Array(dimension);
      for (let t = 0; t < steps; t++) {
        const gate = (row: number) => {
          let sum = bias[row];
          for (let i = 0; i < inner; i++)
            sum += inputWeights[row * inner + i] * x[(t * batch + b) * inner + i];
          for (let j = 0; j < dimension; j++) sum += recurrentWeights[row * dimension + j] * hidden[j];
          return sum;
        };
        hidden = Float64Array.from({ length: dimension }, (_, d) => {
          const [i, f, g, o] = [0, 1, 2, 3].map((k) => gate(k * dimension + d));
          cell[d] = sigmoid(f) * cell[d] + sigmoid(i) * Math.tanh(g);
          return sigmoid(o) * Math.tanh(cell[d]);
        });
        outputs.set(hidden, (t * batch + b) * dimension);
      }
    }
    return outputs;
  };
}

test("the fused op's values and all its gradients equal those of the equations in double precision", () => {
  const [steps, batch, inner, dimension] = [6, 2, 3, 4];
  assertGradients(lstmFused, reference(steps, batch, inner, dimension), [
    [steps, batch, inner],
    [4 * dimension, inner],
    [4 * dimension, dimension],
    [4 * dimension],
  ]);
});

for (const [batch, steps, inner, dimension] of [
  [1, 6, 3, 4],
  [2, 5, 8, 16],
  [3, 40, 24, 24],
  [5, 9, 40, 130],
]) {
  const sizes = `${batch} x ${steps} x ${inner} -> ${dimension}`;
  test(`our own op's values and gradients equal those of the fused op: ${sizes}`, () => {
    assertSameWithKernels(
      (x, input, recurrent, bias) => lstmLayer(x, { input, recurrent, bias }),
      [
        normal([batch, steps, inner], 1),
        tf.mul(normal([4 * dimension, inner], 2), 0.3),
        tf.mul(normal([4 * dimension, dimension], 3), 0.3),
        normal([4 * dimension], 4),
      ],
      "lstm",
    );
  });
}

test("the loop in the graph equals the fused op, called op by op and inside jit", () => {
  const [steps, batch, inner, dimension] = [9, 2, 3, 5];
  const arguments_: Parameters<typeof lstmLoop> = [
    tf.randomNormal([steps, batch, inner], 0, 1, "float32", 1),
    tf.randomNormal([4 * dimension, inner], 0, 1, "float32", 2),
    tf.randomNormal([4 * dimension, dimension], 0, 1, "float32", 3),
    tf.randomNormal([4 * dimension], 0, 1, "float32", 4),
  ];
  const expected = lstmFused(...arguments_);
  const inside = jit((...args: typeof arguments_) => lstmLoop(...args), { mode: "graph" });
  for (const actual of [lstmLoop(...arguments_), inside(...arguments_)]) {
    const difference = tf.max(tf.abs(tf.sub(actual, expected))).dataSync()[0];
    assert.ok(difference < 1e-6, `off by ${difference}`);
  }
  assert.match(inside.describe(), /StatelessWhile\D+1\b/);
});

/** Runs `f` without our own ops. */
function withoutKernels(f: () => void): void {
  configureRuntime({ kernels: false });
  try {
    f();
  } finally {
    configureRuntime({ kernels: true });
  }
}

test("without our ops a wide LSTM is a loop, and the fused op where a gradient is taken; both give the same", () =>
  withoutKernels(() => {
    const lstm = new ResidualLSTM(512, 1, new InitializerStream(0));
    const x = tf.randomNormal([1, 4, 512], 0, 1, "float32", 1);
    const plain = jit((v: Tensor) => lstm.forward(v), { mode: "graph" });
    const trained = jit(
      (v: Tensor): Tensor => {
        const { value, grad } = tf.valueAndGrad((u: Tensor) => tf.sum(lstm.forward(u)) as Scalar)(v);
        return tf.stack([value, tf.sum(grad)]);
      },
      { mode: "graph" },
    );
    const [sum] = tf.sum(plain(x)).dataSync();
    const [sumOfTrained] = trained(x).dataSync();
    assert.ok(Math.abs(sum - sumOfTrained) < 1e-4, `${sum} and ${sumOfTrained}`);
    assert.match(plain.describe(), /StatelessWhile/);
    assert.match(trained.describe(), /BlockLSTMGradV2/);
  }));

test("inside jit a layer and its gradient are one op each, whatever the number of steps", () => {
  const lstm = new ResidualLSTM(4, 1, new InitializerStream(0));
  const gradient = jit((x: Tensor) => tf.grad((v: Tensor) => tf.sum(lstm.forward(v)) as never)(x), {
    mode: "graph",
  });
  const eager = tf.grad((v: Tensor) => tf.sum(lstm.forward(v)) as never);
  const x = tf.linspace(-1, 1, 1500 * 4).reshape([1, 1500, 4]);
  const difference = tf.max(tf.abs(tf.sub(gradient(x), eager(x)))).dataSync()[0];
  assert.ok(difference < 1e-6, `jit differs from eager by ${difference}`);
  const ops = gradient.describe();
  assert.match(ops, /MgLstm\D+1\b/);
  assert.match(ops, /MgLstmGradient\D+1\b/);
});

test("the input is added to the output", () => {
  const lstm = new ResidualLSTM(3, 2, new InitializerStream(0));
  for (const [, parameter] of lstm.namedParameters()) parameter.assign(tf.zeros(parameter.shape));
  const x = tf.linspace(-1, 1, 12).reshape([2, 2, 3]);
  assert.deepEqual(lstm.forward(x).arraySync(), x.arraySync());
});
