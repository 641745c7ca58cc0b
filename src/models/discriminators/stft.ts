/** Multi-scale STFT discriminator (EnCodec, arXiv 2210.13438, section 3.4): 2-D convolutions over complex spectra. */
import { UserError } from "../../errors.ts";
import { type Initializer, type InitializerStream, Module, Parameter } from "../../nn/index.ts";
import { hannWindow, stft } from "../../nn/stft.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { type ActivationParams, buildActivation } from "../encodec/activation.ts";
import type { ConvNorm } from "../encodec/conv_norm.ts";
import type { Layer } from "../encodec/layer.ts";
import { NormConv2d } from "./conv.ts";
import { Discriminator, SubDiscriminator, type Verdict } from "./discriminator.ts";

export interface STFTDiscriminatorOptions {
  inChannels: number;
  outChannels: number;
  filters: number;
  maxFilters: number;
  /** How many times more filters each layer has than the one before. */
  filtersScale: number;
  /** Over frames and frequencies. */
  kernelSize: readonly [number, number];
  stride: readonly [number, number];
  /** Over frames, one per strided layer. */
  dilations: readonly number[];
  /** Divides spectra by the 2-norm of the window. */
  normalized: boolean;
  norm: ConvNorm;
  activation: string;
  activationParams: ActivationParams;
}

export interface MultiScaleSTFTOptions extends STFTDiscriminatorOptions {
  nFfts: readonly number[];
  hopLengths: readonly number[];
  winLengths: readonly number[];
}

export class MultiScaleSTFTDiscriminator extends Discriminator {
  readonly discriminators: STFTDiscriminator[];

  constructor({ nFfts, hopLengths, winLengths, ...shared }: MultiScaleSTFTOptions, init: InitializerStream) {
    super();
    if (nFfts.length !== hopLengths.length || nFfts.length !== winLengths.length) {
      throw new UserError("msstftd: n_ffts, hop_lengths and win_lengths must be equally long lists.");
    }
    this.discriminators = nFfts.map(
      (nFft, i) =>
        new STFTDiscriminator({ ...shared, nFft, hop: hopLengths[i], winLength: winLengths[i] }, init),
    );
  }
}

class STFTDiscriminator extends SubDiscriminator {
  readonly specTransform: SpectrumOf;
  readonly convs: NormConv2d[];
  readonly convPost: NormConv2d;
  private readonly activation: Layer;

  constructor(
    options: STFTDiscriminatorOptions & { nFft: number; hop: number; winLength: number },
    init: InitializerStream,
  ) {
    super();
    const { inChannels, outChannels, filters, maxFilters, filtersScale, stride, dilations, norm } = options;
    const [frames, frequencies] = options.kernelSize;
    const width = (layer: number) => Math.min(filtersScale ** layer * filters, maxFilters);
    const square = { kernelSize: [frames, frames], padding: halves(frames, frames), norm } as const;
    const plain = { kernelSize: options.kernelSize, padding: halves(frames, frequencies) };
    this.specTransform = new SpectrumOf(options);
    this.convs = [
      new NormConv2d(2 * inChannels, width(0), { ...plain, norm: "none" }, init),
      ...dilations.map((dilation, i) => {
        const padding = halves((frames - 1) * dilation + 1, frequencies);
        return new NormConv2d(width(i), width(i + 1), { ...plain, stride, dilation, padding, norm }, init);
      }),
      new NormConv2d(width(dilations.length), width(dilations.length + 1), square, init),
    ];
    this.convPost = new NormConv2d(width(dilations.length + 1), outChannels, square, init);
    this.activation = buildActivation(options.activation, options.activationParams);
  }

  /** wav [B, C, T] -> logits [B, frames, frequencies, outChannels] */
  forward(wav: Tensor): Verdict {
    const featureMaps: Tensor[] = [];
    let x = this.specTransform.forward(wav);
    for (const conv of this.convs) {
      x = this.activation.forward(conv.forward(x));
      featureMaps.push(x);
    }
    return { logits: this.convPost.forward(x), featureMaps };
  }
}

/** The spectra of all channels, real parts first. */
class SpectrumOf extends Module {
  readonly window: Parameter;
  private readonly nFft: number;
  private readonly hop: number;
  private readonly normalized: boolean;

  constructor({
    nFft,
    hop,
    winLength,
    normalized,
  }: {
    nFft: number;
    hop: number;
    winLength: number;
    normalized: boolean;
  }) {
    super();
    const hann: Initializer = () => tf.tensor1d(hannWindow(winLength));
    this.window = new Parameter([winLength], hann, { trainable: false });
    this.nFft = nFft;
    this.hop = hop;
    this.normalized = normalized;
  }

  /** wav [B, C, T] -> [B, frames, bins, 2 C] */
  forward(wav: Tensor): Tensor {
    const [batch, channels, length] = wav.shape;
    if (length < this.nFft) {
      throw new UserError(
        `msstftd: clips of ${length} samples are shorter than n_ffts=${this.nFft}: raise dataset.segment_duration.`,
      );
    }
    const { real, imaginary } = stft(wav.reshape([batch * channels, length]), this.scaledWindow(), this.hop);
    const [, frames, bins] = real.shape as [number, number, number];
    const parts = [real, imaginary].map((part) => part.reshape([batch, channels, frames, bins]));
    return tf.transpose(tf.concat(parts, 1), [0, 2, 3, 1]);
  }

  /** The window in the middle of a frame. */
  private scaledWindow(): Tensor {
    const window = this.window.value;
    const scaled = this.normalized ? tf.div(window, tf.sqrt(tf.sum(tf.square(window)))) : window;
    const [length] = this.window.shape;
    const left = Math.floor((this.nFft - length) / 2);
    return length === this.nFft ? scaled : tf.pad1d(scaled as never, [left, this.nFft - length - left]);
  }
}

/** Padding that keeps sizes. */
function halves(frames: number, frequencies: number): [number, number] {
  return [Math.floor((frames - 1) / 2), Math.floor((frequencies - 1) / 2)];
}
