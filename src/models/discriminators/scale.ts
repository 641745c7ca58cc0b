/** Multi-scale discriminator (MelGAN, arXiv 1910.06711): every part looks at the wave at half the rate of the one before. */
import { UserError } from "../../errors.ts";
import { type InitializerStream, Module } from "../../nn/index.ts";
import { frame } from "../../nn/stft.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { type ActivationParams, buildActivation } from "../encodec/activation.ts";
import type { ConvNorm } from "../encodec/conv_norm.ts";
import type { Layer } from "../encodec/layer.ts";
import { type PadMode, padTime } from "../encodec/padding.ts";
import { NormConv1d } from "./conv.ts";
import { Discriminator, SubDiscriminator, type Verdict } from "./discriminator.ts";

export interface ScaleDiscriminatorOptions {
  inChannels: number;
  outChannels: number;
  /** The first convolution's is their product; the last two have one each. */
  kernelSizes: readonly [number, number];
  filters: number;
  maxFilters: number;
  /** Strides of the inner layers, which multiply the channels as much. */
  downsampleScales: readonly number[];
  /** Of the inner layers; null: 10 scale + 1, a group per 4 channels, the scale, half the kernel. */
  innerKernelSizes: readonly number[] | null;
  groups: readonly number[] | null;
  strides: readonly number[] | null;
  paddings: readonly number[] | null;
  /** Of the first convolution. */
  padMode: PadMode;
  activation: string;
  activationParams: ActivationParams;
}

export interface MultiScaleOptions extends ScaleDiscriminatorOptions {
  /** The norm of each part. */
  scaleNorms: readonly ConvNorm[];
  downsampleFactor: number;
}

export class MultiScaleDiscriminator extends Discriminator {
  readonly discriminators: ScaleDiscriminator[];
  private readonly factor: number;

  constructor({ scaleNorms, downsampleFactor, ...shared }: MultiScaleOptions, init: InitializerStream) {
    super();
    this.factor = downsampleFactor;
    this.discriminators = scaleNorms.map((norm) => new ScaleDiscriminator(norm, shared, init));
  }

  override forward(wav: Tensor): Verdict[] {
    let heard = wav;
    return this.discriminators.map((part, i) => {
      if (i > 0) heard = downsampled(heard, this.factor);
      return part.forward(heard);
    });
  }
}

/** Means of 2 `factor` samples, `factor` apart, with zeros at both ends: [B, C, T] -> [B, C, floor(T / factor) + 1] */
function downsampled(wav: Tensor, factor: number): Tensor {
  const [batch, channels, length] = wav.shape;
  const padded = padTime(wav.reshape([batch * channels, length, 1]), factor, factor, "constant");
  return tf.mean(frame(padded, 2 * factor, factor), [2, 3]).reshape([batch, channels, -1]);
}

class ScaleDiscriminator extends SubDiscriminator {
  /** The first has a padding before it, which counts in its name. */
  readonly convs: [PaddedConv, ...NormConv1d[]];
  readonly convPost: NormConv1d;
  private readonly activation: Layer;

  constructor(norm: ConvNorm, options: ScaleDiscriminatorOptions, init: InitializerStream) {
    super();
    const { inChannels, outChannels, kernelSizes, filters, maxFilters, downsampleScales } = options;
    for (const key of ["innerKernelSizes", "groups", "strides", "paddings"] as const) {
      if (options[key] !== null && options[key].length !== downsampleScales.length) {
        throw new UserError(`msd.${snake(key)} must have ${downsampleScales.length} values.`);
      }
    }
    if (kernelSizes.some((size) => size % 2 === 0)) throw new UserError("msd.kernel_sizes must be odd.");
    const plain = (size: number) => ({
      kernelSize: size,
      stride: 1,
      groups: 1,
      padding: (size - 1) / 2,
      norm,
    });
    const convs: NormConv1d[] = [];
    let width = filters;
    for (const [i, scale] of downsampleScales.entries()) {
      const next = Math.min(width * scale, maxFilters);
      const inner = {
        kernelSize: options.innerKernelSizes?.[i] ?? 10 * scale + 1,
        stride: options.strides?.[i] ?? scale,
        groups: options.groups?.[i] ?? Math.floor(width / 4),
        padding: options.paddings?.[i] ?? 5 * scale,
        norm,
      };
      convs.push(new NormConv1d(width, next, inner, init));
      width = next;
    }
    const last = Math.min(2 * width, maxFilters);
    convs.push(new NormConv1d(width, last, plain(kernelSizes[0]), init));
    const first = new PaddedConv(
      inChannels,
      filters,
      kernelSizes[0] * kernelSizes[1],
      norm,
      options.padMode,
      init,
    );
    this.convs = [first, ...convs];
    this.convPost = new NormConv1d(last, outChannels, plain(kernelSizes[1]), init);
    this.activation = buildActivation(options.activation, options.activationParams);
  }

  /** wav [B, C, T] -> logits [B, T', outChannels] */
  forward(wav: Tensor): Verdict {
    const featureMaps: Tensor[] = [];
    let x = tf.transpose(wav, [0, 2, 1]) as Tensor;
    for (const conv of this.convs) {
      x = this.activation.forward(conv.forward(x));
      featureMaps.push(x);
    }
    const logits = this.convPost.forward(x);
    return { logits, featureMaps: [...featureMaps, logits] };
  }
}

class PaddedConv extends Module {
  readonly conv: NormConv1d;
  private readonly edge: number;
  private readonly mode: PadMode;

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: number,
    norm: ConvNorm,
    mode: PadMode,
    init: InitializerStream,
  ) {
    super();
    this.edge = (kernelSize - 1) / 2;
    this.mode = mode;
    this.conv = new NormConv1d(
      inChannels,
      outChannels,
      { kernelSize, stride: 1, groups: 1, padding: 0, norm },
      init,
    );
  }

  protected override stateNames() {
    return { conv: "1" };
  }

  forward(x: Tensor): Tensor {
    return this.conv.forward(padTime(x, this.edge, this.edge, this.mode));
  }
}

function snake(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
