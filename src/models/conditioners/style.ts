/**
 * Style of a short excerpt of audio through a bottleneck (MusicGen-style, arXiv 2407.12563): features of a frozen model, a
 * transformer, few codebooks, few vectors per second. The language model is not to be told its own continuation, so the
 * loss leaves out what the excerpt was cut from.
 */
import { resample } from "../../data/audio/resample.ts";
import type { WavBatch } from "../../data/conditioning.ts";
import { UserError } from "../../errors.ts";
import { embedding, type InitializerStream } from "../../nn/index.ts";
import { TorchGenerator } from "../../random/mt19937.ts";
import { autocast, type Tensor, tf } from "../../runtime/index.ts";
import { initializeCodebooks, isInitialized } from "../encodec/kmeans.ts";
import { ResidualVectorQuantizer } from "../encodec/quantizer.ts";
import { generatorSampler, seededSampler } from "../encodec/vector_sampler.ts";
import type { TransformerConfig } from "../lm/config.ts";
import { Transformer } from "../lm/transformer.ts";
import {
  Conditioner,
  type ConditionTensors,
  crossBias,
  type ForwardOptions,
  type PreparedCondition,
  type PrepareOptions,
} from "./base.ts";
import { BatchNorm } from "./batch_norm.ts";
import { EncodecFeatures, type StyleEmbed, type StyleFeatures } from "./style_features.ts";
import { lengthMask, rateOf } from "./waveform.ts";

/** Size, heads and layers of the transformer by `transformer_scale`; without layers there is none. */
export const STYLE_SCALES: Readonly<Record<string, { dim: number; heads: number; layers: number }>> = {
  xsmall: { dim: 256, heads: 8, layers: 4 },
  default: { dim: 512, heads: 8, layers: 8 },
  large: { dim: 1024, heads: 16, layers: 24 },
  none: { dim: 512, heads: 8, layers: 0 },
};

export interface StyleConditionerOptions {
  outputDim: number;
  features: StyleFeatures;
  transformer: { dim: number; heads: number; layers: number };
  /** Seconds of the excerpt, and the bounds of its length in training (null: the same). */
  length: number;
  varyingLengths: [number, number] | null;
  /** The excerpt is the middle of the audio and not a random part. */
  useMiddle: boolean;
  /** Every how manieth frame is kept. */
  dsFactor: number;
  /** Codebooks (0: no bottleneck), and how many of them are used outside training. */
  codebooks: number;
  evalCodebooks: number;
  /** In training, a random number of codebooks takes part. */
  codebookDropout: boolean;
  bins: number;
  deadThreshold: number;
  batchNorm: boolean;
  /** Whether the loss leaves out the excerpt. */
  computeMask: boolean;
  /** Samples that are a frame of the language model's codec. */
  samplesPerFrame: number;
  seed?: number;
}

/** How an excerpt is heard in generation; what is left out stays as it is. */
export interface StyleParams {
  /** Codebooks of the bottleneck. */
  evalCodebooks?: number;
  /** Seconds. */
  length?: number;
  /** Every how manieth frame is kept. */
  dsFactor?: number;
  /** Codebooks of the codec that is listened with. */
  encodecCodebooks?: number;
}

/** How the original's quantizer learns. */
const DECAY = 0.99;
const KMEANS_ITERATIONS = 10;

export class StyleConditioner extends Conditioner<"wav"> {
  readonly kind = "wav";
  readonly embed: StyleEmbed;
  readonly transformer: Transformer | null;
  readonly batchNorm: BatchNorm | null;
  readonly rvq: ResidualVectorQuantizer | null;
  /** Private to the class and so no part of the state dict: a checkpoint does not carry the frozen model. */
  readonly #features: StyleFeatures;
  private readonly options: StyleConditionerOptions;
  protected override readonly generator: TorchGenerator;
  private isReady = false;

  constructor(options: StyleConditionerOptions, init: InitializerStream) {
    const { transformer, codebooks, bins, features, batchNorm, outputDim } = options;
    super(transformer.dim, outputDim, init);
    const { dim, layers } = transformer;
    this.options = { ...options };
    this.#features = features;
    this.embed = features.makeEmbed(dim, init);
    this.transformer = layers === 0 ? null : new Transformer(transformerConfig(transformer), init);
    this.batchNorm = batchNorm ? new BatchNorm(dim) : null;
    this.rvq =
      codebooks === 0
        ? null
        : new ResidualVectorQuantizer({ dimension: dim, codebooks, bins, kmeansInit: true }, init);
    this.checkEvalCodebooks(options.evalCodebooks);
    this.generator = new TorchGenerator(options.seed ?? 1234);
  }

  /** Changes how an excerpt is heard in generation. @throws UserError when there are fewer codebooks */
  setParams(params: StyleParams): void {
    const { encodecCodebooks, ...others } = params;
    const { length = 1, dsFactor = 1 } = others;
    if (!(length > 0)) throw new UserError(`style.length=${length}: a number of seconds above 0 is needed`);
    if (!(Number.isInteger(dsFactor) && dsFactor > 0))
      throw new UserError(`style.ds_factor=${dsFactor}: a positive integer is needed`);
    if (others.evalCodebooks !== undefined) this.checkEvalCodebooks(others.evalCodebooks);
    if (encodecCodebooks !== undefined) {
      const tables = Array.isArray(this.embed) ? this.embed.length : 0;
      if (!(this.#features instanceof EncodecFeatures) || encodecCodebooks > tables) {
        throw new UserError(
          `style.encodec_n_q=${encodecCodebooks}: the model listens to ${tables} codebooks`,
        );
      }
      this.#features.limitCodebooks(encodecCodebooks);
    }
    for (const [key, value] of Object.entries(others)) {
      if (value !== undefined) Object.assign(this.options, { [key]: value });
    }
  }

  /**
   * The excerpt's features. A batch of null conditions is one zero vector per row. Lengths in training are whole numbers of
   * kept frames, so that the step is traced for a few lengths only.
   */
  override prepare(batch: WavBatch, { training }: PrepareOptions): PreparedCondition {
    const rows = batch.shape[0];
    if (batch.lengths.every((length) => length === 0)) {
      const dim = this.options.transformer.dim;
      return { input: tf.zeros([rows, 1, dim]), mask: tf.zeros([rows, 1]), crossBias: crossBias(1) };
    }
    const { start, length } = this.excerpt(batch, training);
    const input = this.listen(batch, start, length);
    const { dsFactor, codebooks, evalCodebooks, codebookDropout } = this.options;
    const frames = input.shape[1]!;
    const kept = Math.ceil(frames / dsFactor);
    const hop = (batch.sampleRates[0] / this.#features.frameRate) * dsFactor;
    const mask = lengthMask(batch, kept, batch.sampleRates[0], hop);
    const used = !training ? evalCodebooks : codebookDropout ? 1 + this.draw(codebooks) : codebooks;
    const extra: Record<string, Tensor> = {
      codebooks: tf.scalar(used, "int32"),
      frames: tf.tensor2d(keptFrames(rows, frames, dsFactor), [rows, kept], "int32"),
      ...(training ? { seed: tf.tensor1d([this.draw(2 ** 31), this.draw(2 ** 31)], "int32") } : {}),
    };
    const prepared = { input, mask: tf.tensor2d(mask, [rows, kept]), crossBias: crossBias(kept), extra };
    this.makeReady(prepared, training);
    const lossMask = this.lossMask(batch, start, length);
    return lossMask === null ? prepared : { ...prepared, lossMask };
  }

  override forward(prepared: PreparedCondition, { training }: ForwardOptions): ConditionTensors {
    const { input, extra } = prepared;
    if (extra === undefined) return this.project(input, prepared); // null conditions
    return autocast(null, () => {
      const latents = this.latents(input, training, training);
      const { deadThreshold } = this.options;
      const learning = training ? { decay: DECAY, deadThreshold, sample: seededSampler(extra.seed) } : null;
      const { codebooks } = extra;
      const quantized = this.rvq?.forward(latents, { codebooks, learning }).quantized ?? latents;
      const [batch, frames, dim] = quantized.shape;
      return this.project(embedding(quantized.reshape([batch * frames, dim]), extra.frames), prepared);
    });
  }

  override dispose(): void {
    super.dispose();
    this.#features.dispose();
  }

  /** Features -> what is quantized [B, frames, dim]; with `tracks`, the batch norm remembers its statistics. */
  private latents(input: Tensor, training: boolean, tracks: boolean): Tensor {
    const embedded = this.#features.embed(input, this.embed);
    const hidden = this.transformer === null ? embedded : this.transformer.forward(embedded, null);
    if (this.batchNorm === null) return hidden;
    if (tracks) this.batchNorm.track(hidden);
    return this.batchNorm.forward(hidden, training);
  }

  /** Makes the codebooks of the first excerpts that are heard. */
  private makeReady({ input }: PreparedCondition, training: boolean): void {
    if (this.rvq === null || this.isReady) return;
    if (!isInitialized(this.rvq)) {
      tf.tidy(() => {
        const latents = this.latents(input, training, false);
        const rows = latents.reshape([-1, this.options.transformer.dim]);
        const sample = generatorSampler(this.generator);
        initializeCodebooks(this.rvq!, rows, { iterations: KMEANS_ITERATIONS, sample, refill: true });
      });
    }
    this.isReady = true;
  }

  /** First sample and number of samples of the excerpt, the same for all rows. Audio that is shorter is heard whole. */
  private excerpt(batch: WavBatch, training: boolean): { start: number; length: number } {
    const { shape } = batch;
    const { varyingLengths, useMiddle, length: seconds } = this.options;
    const asked = training && varyingLengths !== null ? this.drawLength(varyingLengths) : seconds;
    const length = Math.min(Math.trunc(asked * rateOf(batch)), shape[2]);
    const room = shape[2] - length;
    return { start: useMiddle ? Math.trunc(room / 2) : this.draw(room + 1), length };
  }

  /** Seconds, uniform among the lengths between the bounds that are whole numbers of kept frames. */
  private drawLength([shortest, longest]: [number, number]): number {
    const { dsFactor } = this.options;
    const perSecond = this.#features.frameRate / dsFactor;
    const first = Math.max(1, Math.ceil(shortest * perSecond));
    const last = Math.max(first, Math.floor(longest * perSecond));
    return (first + this.draw(last - first + 1)) / perSecond;
  }

  private listen({ wav, shape, sampleRates }: WavBatch, start: number, length: number): Tensor {
    const [rows, , samples] = shape;
    const excerpts = Array.from({ length: rows }, (_, row) =>
      wav.slice(row * samples + start, row * samples + start + length),
    );
    const heard = resample(excerpts, sampleRates[0], this.#features.sampleRate);
    const all = new Float32Array(rows * heard[0].length);
    for (const [row, samples] of heard.entries()) all.set(samples, row * samples.length);
    return tf.tidy(() => this.#features.extract(tf.tensor2d(all, [rows, heard[0].length])));
  }

  /** 0 on the frames of the language model that the excerpt covers; null when it covers all or is not left out. */
  private lossMask({ shape }: WavBatch, start: number, length: number): Tensor | null {
    const { computeMask, samplesPerFrame } = this.options;
    const total = Math.ceil(shape[2] / samplesPerFrame);
    const first = Math.trunc(start / samplesPerFrame);
    const covered = Math.trunc(length / samplesPerFrame);
    if (!computeMask || covered >= total) return null;
    const row = new Float32Array(total).fill(1).fill(0, first, first + covered);
    const mask = Float32Array.from({ length: shape[0] * total }, (_, i) => row[i % total]);
    return tf.tensor2d(mask, [shape[0], total]);
  }

  private draw(count: number): number {
    return this.generator.randint(count);
  }

  private checkEvalCodebooks(count: number): void {
    const { codebooks } = this.options;
    if (codebooks === 0 || (Number.isInteger(count) && count >= 1 && count <= codebooks)) return;
    throw new UserError(`style.eval_q=${count} must be between 1 and style.n_q_out=${codebooks}`);
  }
}

/** Row numbers, in features of `rows` times `frames` rows, of each `step`-th frame from the first on. */
function keptFrames(rows: number, frames: number, step: number): Int32Array {
  const kept = Math.ceil(frames / step);
  return Int32Array.from(
    { length: rows * kept },
    (_, i) => Math.floor(i / kept) * frames + (i % kept) * step,
  );
}

/** The original's: pre-norm, without biases, with sinusoids and dropout. */
function transformerConfig({
  dim,
  heads,
  layers,
}: StyleConditionerOptions["transformer"]): TransformerConfig {
  return {
    dim,
    num_heads: heads,
    num_layers: layers,
    hidden_scale: 4,
    dropout: 0.1,
    attention_dropout: null,
    activation: "gelu",
    norm: "layer_norm",
    norm_first: true,
    bias_ff: false,
    bias_attn: false,
    causal: false,
    past_context: null,
    custom: false,
    memory_efficient: true,
    attention_as_float32: false,
    layer_scale: null,
    positional_embedding: "sin",
    xpos: false,
    checkpointing: "none",
    cross_attention: false,
    qk_layer_norm: false,
    qk_layer_norm_cross: false,
    kv_repeat: 1,
    weight_init: null,
    depthwise_init: null,
    zero_bias_init: false,
  };
}
