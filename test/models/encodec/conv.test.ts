/** Padding, convolutions and their gradients, against loops over doubles. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Conv1d, ConvTranspose1d, conv1d } from "../../../src/models/encodec/conv.ts";
import type { WeightNormKernel } from "../../../src/models/encodec/conv_norm.ts";
import { convolveTransposed } from "../../../src/models/encodec/convolve.ts";
import { convPadding, padTime } from "../../../src/models/encodec/padding.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { type Tensor, tf } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";
import { assertGradients } from "./numeric_gradient.ts";

const options = { norm: "none", padMode: "constant" } as const;

test("padding: the even part has its larger half at the left, causal all of it; extra at the right fills the last window", () => {
  assert.deepEqual(convPadding(10, 7, 1, 1, false), { left: 3, right: 3 });
  assert.deepEqual(convPadding(10, 4, 1, 1, false), { left: 2, right: 1 });
  assert.deepEqual(convPadding(10, 4, 1, 1, true), { left: 3, right: 0 });
  assert.deepEqual(convPadding(10, 3, 1, 4, false), { left: 4, right: 4 });
  assert.deepEqual(convPadding(11, 8, 4, 1, false), { left: 2, right: 3 });
});

test("a convolution gives ceil(T / stride) frames, a transposed one T * stride samples", () => {
  for (const causal of [false, true]) {
    for (const [kernelSize, stride, length] of [
      [7, 1, 9],
      [16, 8, 41],
      [10, 5, 3],
      [4, 2, 1],
    ]) {
      const init = new InitializerStream(0);
      const conv = new Conv1d(2, 3, { ...options, kernelSize, stride, causal }, init);
      assert.deepEqual(conv.forward(tf.ones([1, length, 2])).shape, [1, Math.ceil(length / stride), 3]);
      for (const trimRightRatio of causal ? [1, 0.5, 0] : [1]) {
        const up = new ConvTranspose1d(
          2,
          3,
          { norm: "none", kernelSize, stride, causal, trimRightRatio },
          init,
        );
        assert.deepEqual(up.forward(tf.ones([1, length, 2])).shape, [1, length * stride, 3]);
      }
    }
  }
});

test("reflection repeats no edge sample; a clip shorter than the padding is extended by zeros first", () => {
  const reflect = (values: number[], left: number, right: number) => [
    ...padTime(tf.tensor3d(values, [1, values.length, 1]), left, right, "reflect").dataSync(),
  ];
  assert.deepEqual(reflect([1, 2, 3, 4], 2, 3), [3, 2, 1, 2, 3, 4, 3, 2, 1]);
  assert.deepEqual(reflect([1, 2], 3, 3), [0, 0, 2, 1, 2, 0, 0, 0]);
  assert.deepEqual(reflect([1, 2], 0, 2), [1, 2, 0, 2]);
});

test("reflection's gradient adds up at every sample that was copied", () => {
  const weights = tf.tensor3d([1, 2, 4, 8, 16, 32, 64], [1, 7, 1]);
  const loss = (x: Tensor) => tf.sum(tf.mul(padTime(x, 2, 2, "reflect"), weights)) as never;
  // padded samples are x[2], x[1], x[0], x[1], x[2], x[1], x[0]
  assert.deepEqual(
    [
      ...tf
        .grad(loss)(tf.ones([1, 3, 1]))
        .dataSync(),
    ],
    [4 + 64, 2 + 8 + 32, 1 + 16],
  );
});

for (const { stride, dilation } of [
  { stride: 1, dilation: 1 },
  { stride: 3, dilation: 1 },
  { stride: 1, dilation: 2 },
]) {
  test(`conv1d, stride ${stride}, dilation ${dilation}: value and gradients equal those of loops in double precision`, () => {
    const [batch, length, inner, outer, kernel] = [2, 11, 3, 2, 3];
    const frames = Math.floor((length - dilation * (kernel - 1) - 1) / stride) + 1;
    const reference = ([x, w]: Float64Array[]) => {
      const y = new Float64Array(batch * frames * outer);
      for (let b = 0; b < batch; b++)
        for (let t = 0; t < frames; t++)
          for (let o = 0; o < outer; o++)
            for (let i = 0; i < inner; i++)
              for (let k = 0; k < kernel; k++)
                y[(b * frames + t) * outer + o] +=
                  x[(b * length + t * stride + k * dilation) * inner + i] * w[(o * inner + i) * kernel + k];
      return y;
    };
    assertGradients((x, w) => conv1d(x, w, stride, dilation), reference, [
      [batch, length, inner],
      [outer, inner, kernel],
    ]);
  });
}

test("convolveTransposed, nothing trimmed: value and gradients equal those of loops in double precision", () => {
  const [batch, length, inner, outer, kernel, stride] = [2, 4, 3, 2, 6, 3];
  const samples = (length - 1) * stride + kernel;
  const reference = ([x, w]: Float64Array[]) => {
    const y = new Float64Array(batch * samples * outer);
    for (let b = 0; b < batch; b++)
      for (let t = 0; t < length; t++)
        for (let i = 0; i < inner; i++)
          for (let o = 0; o < outer; o++)
            for (let k = 0; k < kernel; k++)
              y[(b * samples + t * stride + k) * outer + o] +=
                x[(b * length + t) * inner + i] * w[(i * outer + o) * kernel + k];
    return y;
  };
  const geometry = { stride, skip: 0, frames: samples };
  const transposed = (x: Tensor, w: Tensor) =>
    convolveTransposed(x, tf.transpose(w, [2, 1, 0]), null, geometry);
  assertGradients(transposed, reference, [
    [batch, length, inner],
    [inner, outer, kernel],
  ]);
});

test("weight norm starts at the drawn weight: g is the norm of v, per output channel, transposed per input channel", () => {
  const init = () => new InitializerStream(3);
  const plain = new Conv1d(2, 3, { ...options, kernelSize: 5, causal: false }, init());
  const normed = new Conv1d(2, 3, { ...options, norm: "weight_norm", kernelSize: 5, causal: false }, init());
  close(normed.kernel.value().dataSync(), plain.kernel.value().dataSync(), 1e-6);
  assert.deepEqual((normed.kernel as WeightNormKernel).weightG.shape, [3, 1, 1]);
  const up = { kernelSize: 4, stride: 2, causal: false, trimRightRatio: 1, norm: "weight_norm" } as const;
  assert.deepEqual(
    (new ConvTranspose1d(2, 3, up, init()).kernel as WeightNormKernel).weightG.shape,
    [2, 1, 1],
  );
});
