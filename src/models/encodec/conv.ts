/**
 * Convolutions over time with EnCodec's padding and norms. Inside the codec tensors are [B, T, C]; weights have PyTorch's
 * layouts and names.
 */
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { type Tensor, type Tensor4D, tf } from "../../runtime/index.ts";
import {
  buildKernel,
  buildOutputNorm,
  type ConvKernel,
  type ConvNorm,
  type NormParams,
  type OutputNorm,
} from "./conv_norm.ts";
import { ConvStream, ConvTransposeStream } from "./conv_stream.ts";
import { holding, Layer, type LayerStream, lengthOf } from "./layer.ts";
import { convPadding, type PadMode, padTime } from "./padding.ts";

export interface ConvOptions {
  kernelSize: number;
  stride?: number;
  dilation?: number;
  causal: boolean;
  norm: ConvNorm;
  normParams?: NormParams;
  padMode: PadMode;
}

/** PyTorch's. */
const defaultNormParams: NormParams = { eps: 1e-5, affine: true };

/** Convolution whose output has ceil(T / stride) frames. */
export class Conv1d extends Layer {
  readonly kernel: ConvKernel;
  readonly norm: OutputNorm | null;
  private readonly options: ConvOptions;

  constructor(inChannels: number, outChannels: number, options: ConvOptions, init: InitializerStream) {
    super();
    const { norm, normParams = defaultNormParams } = options;
    this.options = options;
    this.kernel = buildKernel([outChannels, inChannels, options.kernelSize], 0, norm, init);
    this.norm = buildOutputNorm(norm, outChannels, normParams);
  }

  protected override stateNames() {
    return { kernel: "conv.conv", norm: "conv.norm" };
  }

  /** [B, T, in] -> [B, ceil(T / stride), out] */
  forward(x: Tensor): Tensor {
    return this.forwardWith(x, filterOf(this.kernel.value()));
  }

  stream(): LayerStream {
    if (this.norm?.overTime || this.options.padMode === "circular") return holding((x) => this.forward(x));
    const { kernelSize, stride = 1, dilation = 1, causal, padMode } = this.options;
    const filter = tf.keep(tf.tidy(() => filterOf(this.kernel.value())));
    return new ConvStream(
      { kernelSize, stride, dilation, causal, padMode },
      {
        whole: (x) => this.forwardWith(x, filter),
        valid: (x) => this.finish(convolve(x, filter, stride, dilation)),
        dispose: () => filter.dispose(),
      },
    );
  }

  private forwardWith(x: Tensor, filter: Tensor): Tensor {
    const { kernelSize, stride = 1, dilation = 1, causal, padMode } = this.options;
    const { left, right } = convPadding(lengthOf(x), kernelSize, stride, dilation, causal);
    return this.finish(convolve(padTime(x, left, right, padMode), filter, stride, dilation));
  }

  private finish(y: Tensor): Tensor {
    const biased = tf.add(y, this.kernel.bias.value);
    return this.norm === null ? biased : this.norm.forward(biased);
  }
}

export interface ConvTransposeOptions {
  kernelSize: number;
  stride: number;
  causal: boolean;
  norm: ConvNorm;
  normParams?: NormParams;
  /** Share of the surplus that a causal layer cuts at the right end, 0 to 1; the rest is cut at the left. */
  trimRightRatio: number;
}

/** Transposed convolution whose output has T * stride frames: the surplus of kernelSize - stride is trimmed. */
export class ConvTranspose1d extends Layer {
  readonly kernel: ConvKernel;
  readonly norm: OutputNorm | null;
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
    const { norm, normParams = defaultNormParams } = options;
    this.options = options;
    this.kernel = buildKernel([inChannels, outChannels, options.kernelSize], 1, norm, init);
    this.norm = buildOutputNorm(norm, outChannels, normParams);
  }

  protected override stateNames() {
    return { kernel: "convtr.convtr", norm: "convtr.norm" };
  }

  /** [B, T, in] -> [B, T * stride, out] */
  forward(x: Tensor): Tensor {
    const { stride } = this.options;
    const { left } = this.trim();
    const [batch, frames] = x.shape;
    const full = convTranspose1d(x, this.kernel.value(), stride);
    const trim = (y: Tensor) => tf.slice(y, [0, left, 0], [batch, frames * stride, this.kernel.bias.size]);
    if (this.norm === null) return tf.add(trim(full), this.kernel.bias.value);
    return trim(this.norm.forward(tf.add(full, this.kernel.bias.value)));
  }

  stream(): LayerStream {
    if (this.norm?.overTime) return holding((x) => this.forward(x));
    const { stride } = this.options;
    const filter = tf.keep(tf.tidy(() => filterOf(this.kernel.value())));
    return new ConvTransposeStream(stride, this.trim().left, {
      full: (x) => convolveTransposed(x, filter, stride),
      finish: (y) => {
        const biased = tf.add(y, this.kernel.bias.value);
        return this.norm === null ? biased : this.norm.forward(biased);
      },
      dispose: () => filter.dispose(),
    });
  }

  private trim(): { left: number; right: number } {
    const { kernelSize, stride, causal, trimRightRatio } = this.options;
    const surplus = kernelSize - stride;
    const right = causal ? Math.ceil(surplus * trimRightRatio) : Math.floor(surplus / 2);
    return { left: surplus - right, right };
  }
}

/** Valid convolution. x [B, T, in], weight [out, in, k] -> [B, (T - dilation (k - 1) - 1) / stride + 1, out]. */
export function conv1d(x: Tensor, weight: Tensor, stride: number, dilation = 1): Tensor {
  return convolve(x, filterOf(weight), stride, dilation);
}

/** Transposed convolution without trimming. x [B, T, in], weight [in, out, k] -> [B, (T - 1) stride + k, out]. */
export function convTranspose1d(x: Tensor, weight: Tensor, stride: number): Tensor {
  return convolveTransposed(x, filterOf(weight), stride);
}

/** PyTorch's weight [a, b, k] as TensorFlow's kernels want it: [k, b, a]. */
function filterOf(weight: Tensor): Tensor {
  return tf.transpose(weight, [2, 1, 0]);
}

function convolve(x: Tensor, filter: Tensor, stride: number, dilation: number): Tensor {
  const [kernelSize, inChannels, outChannels] = filter.shape;
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

function convolveTransposed(x: Tensor, filter: Tensor, stride: number): Tensor {
  const [kernelSize, outChannels, inChannels] = filter.shape;
  const [batch, length] = x.shape;
  const image = x.reshape([batch, 1, length, inChannels]) as Tensor4D;
  const window = filter.reshape([1, kernelSize, outChannels, inChannels]) as Tensor4D;
  const samples = (length - 1) * stride + kernelSize;
  const outShape: [number, number, number, number] = [batch, 1, samples, outChannels];
  return tf.conv2dTranspose(image, window, outShape, [1, stride], "valid").squeeze([1]);
}
