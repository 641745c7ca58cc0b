/** Convolutions by our own op against compositions of TensorFlow's. */
import { test } from "node:test";
import { convolve, convolveTransposed } from "../../../src/models/encodec/convolve.ts";
import type { PadMode } from "../../../src/models/encodec/padding.ts";
import type { Tensor } from "../../../src/runtime/index.ts";
import { assertSameWithKernels, normal } from "./with_kernels.ts";

interface Case {
  /** B, T, P, Q */
  sizes: [number, number, number, number];
  taps: number;
  stride?: number;
  dilation?: number;
  padding?: [number, number];
  padMode?: PadMode;
  elu?: boolean;
  skip?: boolean;
}

const cases: Case[] = [
  { sizes: [1, 30, 3, 5], taps: 7, padding: [3, 3] },
  { sizes: [2, 41, 8, 20], taps: 3, padding: [1, 1], elu: true, skip: true },
  { sizes: [2, 41, 8, 17], taps: 3, dilation: 2, padding: [2, 2], elu: true },
  { sizes: [1, 64, 5, 40], taps: 8, stride: 4, padding: [2, 5], elu: true },
  { sizes: [3, 33, 4, 6], taps: 10, stride: 5, padding: [3, 4], padMode: "reflect", elu: true },
  { sizes: [1, 3, 4, 6], taps: 9, padding: [4, 4], padMode: "reflect" },
  { sizes: [1, 12, 4, 6], taps: 9, padding: [4, 4], padMode: "replicate", elu: true },
  { sizes: [1, 12, 4, 6], taps: 5, padding: [2, 2], padMode: "circular" },
  { sizes: [2, 900, 6, 1], taps: 7, padding: [6, 0], elu: true },
  { sizes: [1, 700, 1, 24], taps: 7 },
  { sizes: [1, 20, 70, 20], taps: 16, stride: 8, padding: [4, 4] },
  { sizes: [1, 9, 16, 32], taps: 1, elu: true, skip: true },
];

for (const each of cases) {
  const { sizes, taps, stride = 1, dilation = 1, padding = [0, 0], padMode = "constant", elu, skip } = each;
  test(`values and gradients of a convolution are those of TensorFlow's: ${JSON.stringify(each)}`, () => {
    const [batch, length, inputs, outputs] = sizes;
    const [left, right] = padding;
    const frames = Math.floor((length + left + right - dilation * (taps - 1) - 1) / stride) + 1;
    const tensors = [
      normal([batch, length, inputs], 1),
      normal([taps, inputs, outputs], 2),
      normal([outputs], 3),
      ...(skip ? [normal([batch, frames, outputs], 4)] : []),
    ];
    assertSameWithKernels(
      (x, filter, bias, added?: Tensor) =>
        convolve(x, filter, bias, { stride, dilation, left, right, padMode }, { elu, skip: added }),
      tensors,
      "convolve",
    );
  });
}

const transposed = [
  { sizes: [1, 7, 5, 3], taps: 8, stride: 4, skip: 2, frames: 28 },
  { sizes: [2, 300, 16, 8], taps: 4, stride: 2, skip: 1, frames: 600, elu: true },
  { sizes: [2, 9, 6, 4], taps: 5, stride: 3, skip: 0, frames: 29 },
  { sizes: [1, 9, 6, 4], taps: 10, stride: 5, skip: 5, frames: 45, elu: true },
  { sizes: [1, 1, 6, 20], taps: 16, stride: 8, skip: 4, frames: 8, elu: true },
];

for (const each of transposed) {
  const { sizes, taps, stride, skip, frames, elu } = each;
  test(`values and gradients of a transposed convolution are TensorFlow's: ${JSON.stringify(each)}`, () => {
    const [batch, length, inputs, outputs] = sizes;
    assertSameWithKernels(
      (x, filter, bias) => convolveTransposed(x, filter, bias, { stride, skip, frames }, { elu }),
      [normal([batch, length, inputs], 1), normal([taps, outputs, inputs], 2), normal([outputs], 3)],
      "convolveTransposed",
    );
  });
}
