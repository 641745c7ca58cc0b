/**
 * MERT (arXiv 2306.00107): audio -> hidden states, 75 a second. In structure a HuBERT: convolutions over samples, then a
 * post-norm transformer. Names and layouts are those of Hugging Face files.
 */
import {
  attention,
  gelu,
  InitializerStream,
  LayerNorm,
  Linear,
  Module,
  ones,
  Parameter,
  zeros,
} from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { conv1d } from "../encodec/conv.ts";
import type { MertConfig } from "./config.ts";

/** The weights start as zeros and ones: they always come from a file. Always in evaluation mode. */
export class MertEncoder extends Module {
  readonly featureExtractor: { conv_layers: ConvLayer[] };
  readonly featureProjection: FeatureProjection;
  readonly encoder: TransformerEncoder;
  readonly config: MertConfig;

  constructor(config: MertConfig) {
    super();
    this.config = config;
    this.featureExtractor = {
      conv_layers: config.convolutions.map((_, index) => new ConvLayer(config, index)),
    };
    this.featureProjection = new FeatureProjection(config);
    this.encoder = new TransformerEncoder(config);
  }

  /** wav [B, T] -> the last hidden states [B, `mertFrames`(T), hiddenSize] */
  forward(wav: Tensor): Tensor {
    const layers = this.featureExtractor.conv_layers;
    const features = layers.reduce((y, layer) => layer.forward(y), wav.expandDims(-1) as Tensor);
    return this.encoder.forward(this.featureProjection.forward(features));
  }
}

/** Convolution, for the first one a norm of each channel over time, GELU. Tensors are [B, T, C]. */
class ConvLayer extends Module {
  readonly conv: { weight: Parameter; bias: Parameter | null };
  readonly layerNorm: LayerNorm | null;
  private readonly stride: number;

  constructor({ convolutions, convBias }: MertConfig, index: number) {
    super();
    const { channels, kernel, stride } = convolutions[index];
    const inChannels = index === 0 ? 1 : convolutions[index - 1].channels;
    this.conv = {
      weight: new Parameter([channels, inChannels, kernel], zeros),
      bias: convBias ? new Parameter([channels], zeros) : null,
    };
    this.layerNorm = index === 0 ? new LayerNorm(channels) : null;
    this.stride = stride;
  }

  forward(x: Tensor): Tensor {
    const y = conv1d(x, this.conv.weight.value, this.stride);
    const biased = this.conv.bias === null ? y : tf.add(y, this.conv.bias.value);
    return gelu(this.layerNorm === null ? biased : normalizeOverTime(biased, this.layerNorm));
  }
}

/** Group norm with a group per channel; it is stored under a layer norm's name. */
function normalizeOverTime(x: Tensor, { weight, bias }: LayerNorm): Tensor {
  const centred = tf.sub(x, tf.mean(x, 1, true));
  const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), 1, true), 1e-5));
  return tf.add(tf.mul(tf.mul(centred, rstd), weight.value), bias.value);
}

class FeatureProjection extends Module {
  readonly layerNorm: LayerNorm | null;
  readonly projection: Linear;

  constructor({ convolutions, normalizesFeatures, hiddenSize, epsilon }: MertConfig) {
    super();
    const { channels } = convolutions[convolutions.length - 1];
    this.layerNorm = normalizesFeatures ? new LayerNorm(channels, epsilon) : null;
    this.projection = unset(channels, hiddenSize);
  }

  forward(x: Tensor): Tensor {
    return this.projection.forward(this.layerNorm === null ? x : this.layerNorm.forward(x));
  }
}

class TransformerEncoder extends Module {
  readonly posConvEmbed: PositionConvolution;
  readonly layerNorm: LayerNorm;
  readonly layers: EncoderLayer[];

  constructor(config: MertConfig) {
    super();
    this.posConvEmbed = new PositionConvolution(config);
    this.layerNorm = new LayerNorm(config.hiddenSize, config.epsilon);
    this.layers = Array.from({ length: config.numLayers }, () => new EncoderLayer(config));
  }

  forward(x: Tensor): Tensor {
    const positioned = this.layerNorm.forward(tf.add(x, this.posConvEmbed.forward(x)));
    return this.layers.reduce((y, layer) => layer.forward(y), positioned);
  }
}

/**
 * Positions by a wide grouped convolution. Its weight is g v / |v|, with one norm for each of the kernel's taps (PyTorch's
 * weight norm along the last axis).
 */
class PositionConvolution extends Module {
  readonly conv: { weight_g: Parameter; weight_v: Parameter; bias: Parameter };
  private readonly groups: number;

  constructor({ hiddenSize, positionKernel, positionGroups }: MertConfig) {
    super();
    this.groups = positionGroups;
    this.conv = {
      weight_g: new Parameter([1, 1, positionKernel], ones),
      weight_v: new Parameter([hiddenSize, hiddenSize / positionGroups, positionKernel], ones),
      bias: new Parameter([hiddenSize], zeros),
    };
  }

  /** [B, T, D] -> [B, T, D]: zero padding of half a kernel on both sides, less a frame if that makes one too many. */
  forward(x: Tensor): Tensor {
    const { weight_g: g, weight_v, bias } = this.conv;
    const [, , kernel] = weight_v.shape;
    const v = weight_v.value;
    const weight = tf.mul(v, tf.div(g.value, tf.sqrt(tf.sum(tf.square(v), [0, 1], true)))) as Tensor;
    const half = Math.floor(kernel / 2);
    const padded = tf.pad(x, [
      [0, 0],
      [half, kernel - 1 - half],
      [0, 0],
    ]);
    const weights = tf.split(weight, this.groups, 0);
    const parts = tf.split(padded, this.groups, 2).map((part, group) => conv1d(part, weights[group], 1));
    return gelu(tf.add(tf.concat(parts, 2), bias.value));
  }
}

class EncoderLayer extends Module {
  readonly attention: SelfAttention;
  readonly layerNorm: LayerNorm;
  readonly feedForward: { intermediate_dense: Linear; output_dense: Linear };
  readonly finalLayerNorm: LayerNorm;

  constructor(config: MertConfig) {
    super();
    const { hiddenSize, feedForwardSize, epsilon } = config;
    this.attention = new SelfAttention(config);
    this.layerNorm = new LayerNorm(hiddenSize, epsilon);
    this.feedForward = {
      intermediate_dense: unset(hiddenSize, feedForwardSize),
      output_dense: unset(feedForwardSize, hiddenSize),
    };
    this.finalLayerNorm = new LayerNorm(hiddenSize, epsilon);
  }

  forward(x: Tensor): Tensor {
    const { intermediate_dense: inner, output_dense: outer } = this.feedForward;
    const attended = this.layerNorm.forward(tf.add(x, this.attention.forward(x)));
    const fed = outer.forward(gelu(inner.forward(attended)));
    return this.finalLayerNorm.forward(tf.add(attended, fed));
  }
}

class SelfAttention extends Module {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly outProj: Linear;
  private readonly numHeads: number;

  constructor({ hiddenSize, numHeads }: MertConfig) {
    super();
    this.qProj = unset(hiddenSize, hiddenSize);
    this.kProj = unset(hiddenSize, hiddenSize);
    this.vProj = unset(hiddenSize, hiddenSize);
    this.outProj = unset(hiddenSize, hiddenSize);
    this.numHeads = numHeads;
  }

  forward(x: Tensor): Tensor {
    const [batch, length, dim] = x.shape;
    const [q, k, v] = [this.qProj, this.kProj, this.vProj].map((projection) =>
      projection
        .forward(x)
        .reshape([batch, length, this.numHeads, dim / this.numHeads])
        .transpose([0, 2, 1, 3]),
    );
    const y = attention(q, k, v, null);
    return this.outProj.forward(y.transpose([0, 2, 1, 3]).reshape([batch, length, dim]));
  }
}

const noDraws = new InitializerStream(0);

/** A linear layer whose weights come from a file. */
function unset(from: number, to: number): Linear {
  return new Linear(from, to, noDraws, { weight: zeros, biasInit: zeros });
}
