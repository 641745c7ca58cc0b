/**
 * Convolutions over time with EnCodec's padding and weight norms. Inside the codec tensors are [B, T, C]; weights have
 * PyTorch's layouts and names.
 */
import { UserError } from "../../errors.ts";
import { type Initializer, type InitializerStream, Module, ones, Parameter, zeros } from "../../nn/index.ts";
import { type Tensor, type Tensor4D, tf } from "../../runtime/index.ts";
import { padTime } from "./padding.ts";

/** How a convolution is normalised: its weight by magnitude and direction, its output over channels and time, or not. */
export type ConvNorm = "none" | "weight_norm" | "time_group_norm";

/** Checks a `norm` of a config. */
export function parseConvNorm(norm: string, causal: boolean): ConvNorm {
  if (norm === "time_group_norm" && causal) {
    throw new UserError(
      "norm=time_group_norm looks at the whole time axis, so it can't be used with causal=true.",
    );
  }
  if (norm === "none" || norm === "weight_norm" || norm === "time_group_norm") return norm;
  throw new UserError(`norm=${norm} is not built: use weight_norm, time_group_norm or none.`);
}

export interface ConvOptions {
  kernelSize: number;
  stride?: number;
  dilation?: number;
  causal: boolean;
  norm: ConvNorm;
  padMode: "constant" | "reflect";
}

/** Convolution whose output has ceil(T / stride) frames. */
export class Conv1d extends Module {
  readonly kernel: ConvKernel;
  readonly norm: TimeGroupNorm | null;
  private readonly options: ConvOptions;

  constructor(inChannels: number, outChannels: number, options: ConvOptions, init: InitializerStream) {
    super();
    this.options = options;
    this.kernel = new ConvKernel(
      [outChannels, inChannels, options.kernelSize],
      outChannels,
      options.norm,
      init,
    );
    this.norm = options.norm === "time_group_norm" ? new TimeGroupNorm(outChannels) : null;
  }

  protected override stateNames() {
    return { kernel: "conv.conv", norm: "conv.norm" };
  }

  /** [B, T, in] -> [B, ceil(T / stride), out] */
  forward(x: Tensor): Tensor {
    const { kernelSize, stride = 1, dilation = 1, causal, padMode } = this.options;
    const [, length] = x.shape;
    const { left, right } = convPadding(length, kernelSize, stride, dilation, causal);
    const y = conv1d(padTime(x, left, right, padMode), this.kernel.value(), stride, dilation);
    const biased = tf.add(y, this.kernel.bias.value);
    return this.norm === null ? biased : this.norm.forward(biased);
  }
}

export interface ConvTransposeOptions {
  kernelSize: number;
  stride: number;
  causal: boolean;
  norm: ConvNorm;
  /** Share of the surplus that a causal layer cuts at the right end, 0 to 1; the rest is cut at the left. */
  trimRightRatio: number;
}

/** Transposed convolution whose output has T * stride frames: the surplus of kernelSize - stride is trimmed. */
export class ConvTranspose1d extends Module {
  readonly kernel: ConvKernel;
  readonly norm: TimeGroupNorm | null;
  private readonly options: ConvTransposeOptions;

  constructor(
    inChannels: number,
    outChannels: number,
    options: ConvTransposeOptions,
    init: InitializerStream,
  ) {
    super();
    if (!options.causal && options.trimRightRatio !== 1) {
      throw new UserError("trim_right_ratio other than 1 is only for causal=true.");
    }
    if (!(options.trimRightRatio >= 0 && options.trimRightRatio <= 1)) {
      throw new UserError(`trim_right_ratio=${options.trimRightRatio} is not between 0 and 1.`);
    }
    this.options = options;
    this.kernel = new ConvKernel(
      [inChannels, outChannels, options.kernelSize],
      outChannels,
      options.norm,
      init,
    );
    this.norm = options.norm === "time_group_norm" ? new TimeGroupNorm(outChannels) : null;
  }

  protected override stateNames() {
    return { kernel: "convtr.convtr", norm: "convtr.norm" };
  }

  /** [B, T, in] -> [B, T * stride, out] */
  forward(x: Tensor): Tensor {
    const { kernelSize, stride, causal, trimRightRatio } = this.options;
    const surplus = kernelSize - stride;
    const right = causal ? Math.ceil(surplus * trimRightRatio) : Math.floor(surplus / 2);
    const left = surplus - right;
    const [batch, frames] = x.shape;
    const full = convTranspose1d(x, this.kernel.value(), stride);
    const trim = (y: Tensor) => tf.slice(y, [0, left, 0], [batch, frames * stride, this.kernel.bias.size]);
    if (this.norm === null) return tf.add(trim(full), this.kernel.bias.value);
    return trim(this.norm.forward(tf.add(full, this.kernel.bias.value)));
  }
}

/** Padding that makes the last window full, with the larger half of the even part at the left (reference, section 4.7). */
export function convPadding(
  length: number,
  kernelSize: number,
  stride: number,
  dilation: number,
  causal: boolean,
): { left: number; right: number } {
  const extent = (kernelSize - 1) * dilation + 1;
  const total = extent - stride;
  const windows = Math.ceil((length - extent + total) / stride + 1);
  const extra = (windows - 1) * stride + extent - total - length;
  const right = causal ? 0 : Math.floor(total / 2);
  return { left: total - right, right: right + extra };
}

/** Valid convolution. x [B, T, in], weight [out, in, k] -> [B, (T - dilation (k - 1) - 1) / stride + 1, out]. */
export function conv1d(x: Tensor, weight: Tensor, stride: number, dilation = 1): Tensor {
  const [outChannels, inChannels, kernelSize] = weight.shape;
  const filter = tf.transpose(weight, [2, 1, 0]);
  const [batch, length] = x.shape;
  if (dilation === 1) {
    const image = x.reshape([batch, 1, length, inChannels]) as Tensor4D;
    const window = filter.reshape([1, kernelSize, inChannels, outChannels]) as Tensor4D;
    return tf.conv2d(image, window, [1, stride], "valid").squeeze([1]);
  }
  if (stride !== 1) throw new Error("conv1d: stride and dilation at once");
  // Time folded into [T / dilation, dilation]: a dilated kernel is a plain one along the first axis.
  const rows = Math.ceil(length / dilation);
  const folded = padTime(x, 0, rows * dilation - length, "constant");
  const image = folded.reshape([batch, rows, dilation, inChannels]) as Tensor4D;
  const window = filter.reshape([kernelSize, 1, inChannels, outChannels]) as Tensor4D;
  const y = tf.conv2d(image, window, 1, "valid").reshape([batch, -1, outChannels]);
  return tf.slice(y, [0, 0, 0], [batch, length - dilation * (kernelSize - 1), outChannels]);
}

/** Transposed convolution without trimming. x [B, T, in], weight [in, out, k] -> [B, (T - 1) stride + k, out]. */
export function convTranspose1d(x: Tensor, weight: Tensor, stride: number): Tensor {
  const [inChannels, outChannels, kernelSize] = weight.shape;
  const [batch, length] = x.shape;
  const image = x.reshape([batch, 1, length, inChannels]) as Tensor4D;
  const window = tf
    .transpose(weight, [2, 1, 0])
    .reshape([1, kernelSize, outChannels, inChannels]) as Tensor4D;
  const outShape: [number, number, number, number] = [
    batch,
    1,
    (length - 1) * stride + kernelSize,
    outChannels,
  ];
  return tf.conv2dTranspose(image, window, outShape, [1, stride], "valid").squeeze([1]);
}

/** Weight and bias; with weight_norm the weight is g v / |v|, with one norm per index of the first axis. */
class ConvKernel extends Module {
  readonly bias: Parameter;
  readonly weight: Parameter | null;
  readonly weightG: Parameter | null;
  readonly weightV: Parameter | null;

  /** PyTorch's default: U(-1/sqrt(n), 1/sqrt(n)) with n = the second axis times the kernel size. */
  constructor(shape: number[], biasSize: number, norm: ConvNorm, init: InitializerStream) {
    super();
    const bound = 1 / Math.sqrt(shape[1] * shape[2]);
    const draw = init.uniform(bound);
    const norms: Initializer = () => rowNorms(draw(shape));
    const normed = norm === "weight_norm";
    this.weight = normed ? null : new Parameter(shape, draw);
    this.bias = new Parameter([biasSize], init.uniform(bound));
    this.weightG = normed ? new Parameter([shape[0], 1, 1], norms) : null;
    this.weightV = normed ? new Parameter(shape, draw) : null;
  }

  value(): Tensor {
    if (this.weightV === null) return this.weight!.value;
    const v = this.weightV.value;
    return tf.mul(v, tf.div(this.weightG!.value, rowNorms(v)));
  }
}

function rowNorms(v: Tensor): Tensor {
  return tf.sqrt(tf.sum(tf.square(v), [1, 2], true));
}

/** GroupNorm with one group: every clip is normalised over channels and time, then scaled per channel. */
class TimeGroupNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(channels: number) {
    super();
    this.weight = new Parameter([channels], ones);
    this.bias = new Parameter([channels], zeros);
  }

  forward(x: Tensor): Tensor {
    const centred = tf.sub(x, tf.mean(x, [1, 2], true));
    const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), [1, 2], true), 1e-5));
    return tf.add(tf.mul(tf.mul(centred, rstd), this.weight.value), this.bias.value);
  }
}
