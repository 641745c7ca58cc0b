/** Multi-period discriminator (HiFi-GAN, arXiv 2010.05646): every part looks at samples that are a period apart. */
import type { InitializerStream } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { type ActivationParams, buildActivation } from "../encodec/activation.ts";
import type { ConvNorm } from "../encodec/conv_norm.ts";
import type { Layer } from "../encodec/layer.ts";
import { padTime } from "../encodec/padding.ts";
import { NormConv2d } from "./conv.ts";
import { Discriminator, SubDiscriminator, type Verdict } from "./discriminator.ts";

export interface PeriodDiscriminatorOptions {
  inChannels: number;
  outChannels: number;
  layers: number;
  /** Of the layers, and of the last convolution. */
  kernelSizes: readonly [number, number];
  stride: number;
  /** The layers have filters * filtersScale^(i + 1) channels, at most maxFilters. */
  filters: number;
  filtersScale: number;
  maxFilters: number;
  norm: ConvNorm;
  activation: string;
  activationParams: ActivationParams;
}

export class MultiPeriodDiscriminator extends Discriminator {
  readonly discriminators: PeriodDiscriminator[];

  constructor(
    { periods, ...shared }: PeriodDiscriminatorOptions & { periods: readonly number[] },
    init: InitializerStream,
  ) {
    super();
    this.discriminators = periods.map((period) => new PeriodDiscriminator(period, shared, init));
  }
}

class PeriodDiscriminator extends SubDiscriminator {
  readonly convs: NormConv2d[];
  readonly convPost: NormConv2d;
  private readonly period: number;
  private readonly activation: Layer;

  constructor(period: number, options: PeriodDiscriminatorOptions, init: InitializerStream) {
    super();
    const { inChannels, outChannels, layers, stride, filters, filtersScale, maxFilters, norm } = options;
    const [inner, last] = options.kernelSizes;
    const width = (layer: number) =>
      layer === 0 ? inChannels : Math.min(filters * filtersScale ** layer, maxFilters);
    const shape = (size: number) =>
      ({ kernelSize: [size, 1], padding: [Math.floor((size - 1) / 2), 0], norm }) as const;
    this.period = period;
    this.convs = Array.from({ length: layers }, (_, i) => {
      const steps = [i === layers - 1 ? 1 : stride, 1] as const;
      return new NormConv2d(width(i), width(i + 1), { ...shape(inner), stride: steps }, init);
    });
    this.convPost = new NormConv2d(width(layers), outChannels, shape(last), init);
    this.activation = buildActivation(options.activation, options.activationParams);
  }

  /** wav [B, C, T] -> logits [B, T', period, outChannels] */
  forward(wav: Tensor): Verdict {
    const featureMaps: Tensor[] = [];
    let x = this.folded(wav);
    for (const conv of this.convs) {
      x = this.activation.forward(conv.forward(x));
      featureMaps.push(x);
    }
    const logits = this.convPost.forward(x);
    return { logits, featureMaps: [...featureMaps, logits] };
  }

  /** [B, C, T] -> [B, ceil(T / period), period, C], the end filled up by reflection */
  private folded(wav: Tensor): Tensor {
    const [batch, channels, length] = wav.shape;
    const rows = Math.ceil(length / this.period);
    const whole = padTime(tf.transpose(wav, [0, 2, 1]), 0, rows * this.period - length, "reflect");
    return whole.reshape([batch, rows, this.period, channels]);
  }
}
