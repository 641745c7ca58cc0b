/** The convolutions of discriminators, with PyTorch's weights; channels are the last axis. */
import { UserError } from "../../errors.ts";
import { type InitializerStream, Module } from "../../nn/index.ts";
import { frame } from "../../nn/stft.ts";
import { type Tensor, type Tensor4D, tf } from "../../runtime/index.ts";
import { conv1d } from "../encodec/conv.ts";
import { buildKernel, type ConvKernel, type ConvNorm } from "../encodec/conv_norm.ts";
import { padTime } from "../encodec/padding.ts";

type Pair = readonly [number, number];

export interface Conv2dOptions {
  kernelSize: Pair;
  stride?: Pair;
  /** Of the first axis. */
  dilation?: number;
  /** Zeros at both ends of either axis. */
  padding: Pair;
  norm: ConvNorm;
}

/** Convolution over two axes. */
export class NormConv2d extends Module {
  readonly kernel: ConvKernel;
  private readonly options: Conv2dOptions;

  constructor(inChannels: number, outChannels: number, options: Conv2dOptions, init: InitializerStream) {
    super();
    this.options = options;
    this.kernel = buildKernel([outChannels, inChannels, ...options.kernelSize], 0, options.norm, init);
  }

  protected override stateNames() {
    return { kernel: "conv" };
  }

  /** [B, H, W, in] -> [B, H', W', out] */
  forward(x: Tensor): Tensor {
    const { stride = [1, 1], dilation = 1, padding } = this.options;
    const y = conv2d(padded(x, padding), this.kernel.value(), stride, dilation);
    return tf.add(y, this.kernel.bias.value);
  }
}

/** Valid convolution. x [B, H, W, in], weight [out, in, kh, kw]; the first axis may be dilated. */
export function conv2d(x: Tensor, weight: Tensor, stride: Pair, dilation = 1): Tensor {
  const filter = tf.transpose(weight, [2, 3, 1, 0]) as Tensor4D;
  if (dilation === 1) return tf.conv2d(x as Tensor4D, filter, [...stride], "valid");
  if (stride[0] !== 1) throw new Error("conv2d: stride and dilation of one axis at once");
  // Every dilation-th row is an image of its own, to which the kernel is a plain one (TensorFlow's CPU kernels have no
  // gradient with dilation).
  const [batch, height, width, channels] = x.shape;
  const rows = Math.ceil(height / dilation);
  const filled = tf.pad(x, [
    [0, 0],
    [0, rows * dilation - height],
    [0, 0],
    [0, 0],
  ]);
  const split = tf.transpose(filled.reshape([batch, rows, dilation, width, channels]), [0, 2, 1, 3, 4]);
  const images = split.reshape([batch * dilation, rows, width, channels]) as Tensor4D;
  const answers = tf.conv2d(images, filter, [...stride], "valid");
  const [, answerRows, answerWidth, outputs] = answers.shape;
  const joined = tf
    .transpose(answers.reshape([batch, dilation, answerRows, answerWidth, outputs]), [0, 2, 1, 3, 4])
    .reshape([batch, answerRows * dilation, answerWidth, outputs]);
  const count = height - dilation * (weight.shape[2]! - 1);
  return tf.slice(joined, [0, 0, 0, 0], [batch, count, answerWidth, outputs]);
}

function padded(x: Tensor, [height, width]: Pair): Tensor {
  if (height === 0 && width === 0) return x;
  return tf.pad(x, [
    [0, 0],
    [height, height],
    [width, width],
    [0, 0],
  ]);
}

export interface Conv1dOptions {
  kernelSize: number;
  stride: number;
  groups: number;
  /** Zeros at both ends. */
  padding: number;
  norm: ConvNorm;
}

/** Convolution over time, possibly of groups of channels. */
export class NormConv1d extends Module {
  readonly kernel: ConvKernel;
  private readonly options: Conv1dOptions;

  constructor(inChannels: number, outChannels: number, options: Conv1dOptions, init: InitializerStream) {
    super();
    const { groups, kernelSize, norm } = options;
    if (inChannels % groups !== 0 || outChannels % groups !== 0) {
      throw new UserError(
        `msd.groups: ${groups} divides not both ${inChannels} and ${outChannels} channels.`,
      );
    }
    this.options = options;
    this.kernel = buildKernel([outChannels, inChannels / groups, kernelSize], 0, norm, init);
  }

  protected override stateNames() {
    return { kernel: "conv" };
  }

  /** [B, T, in] -> [B, T', out] */
  forward(x: Tensor): Tensor {
    const { stride, groups, padding } = this.options;
    const whole = padTime(x, padding, padding, "constant");
    const weight = this.kernel.value();
    const y = groups === 1 ? conv1d(whole, weight, stride) : groupedConv1d(whole, weight, stride, groups);
    return tf.add(y, this.kernel.bias.value);
  }
}

/** Valid convolution of each group of channels. x [B, T, in], weight [out, in / groups, k]: one matrix product per group. */
export function groupedConv1d(x: Tensor, weight: Tensor, stride: number, groups: number): Tensor {
  const [outChannels, inner, kernelSize] = weight.shape as [number, number, number];
  const outer = outChannels / groups;
  const frames = frame(x, kernelSize, stride);
  const [batch, count] = frames.shape as [number, number];
  const rows = tf
    .transpose(frames.reshape([batch * count, kernelSize, groups, inner]), [2, 0, 1, 3])
    .reshape([groups, batch * count, kernelSize * inner]);
  const matrices = tf
    .transpose(weight.reshape([groups, outer, inner, kernelSize]), [0, 3, 2, 1])
    .reshape([groups, kernelSize * inner, outer]);
  const products = tf.matMul(rows as never, matrices as never) as Tensor;
  return tf.transpose(products, [1, 0, 2]).reshape([batch, count, outChannels]);
}
