/**
 * One vector for audio and text alike, by a frozen model that embeds both in one space: trained on what is heard, the
 * language model can then be asked by what is written (arXiv 2306.05284, appendix).
 */
import type { JointEmbedBatch } from "../../data/conditioning.ts";
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { TorchGenerator } from "../../random/mt19937.ts";
import { type AutocastType, autocast, type Tensor, tf } from "../../runtime/index.ts";
import { initializeCodebooks, isInitialized } from "../encodec/kmeans.ts";
import { ResidualVectorQuantizer } from "../encodec/quantizer.ts";
import { generatorSampler, seededSampler } from "../encodec/vector_sampler.ts";
import {
  Conditioner,
  type ConditionTensors,
  crossBias,
  type ForwardOptions,
  type PreparedCondition,
  type PrepareOptions,
} from "./base.ts";

/** The quantizer of the embedding, with the original's keys and defaults beside it. */
export interface EmbeddingQuantizerOptions {
  /** n_q */
  codebooks: number;
  bins: number;
  /** q_dropout: in training, a random number of codebooks takes part */
  codebookDropout: boolean;
  /** decay */
  decay: number;
  /** kmeans_init; otherwise the codebooks start random */
  kmeansInit: boolean;
  /** kmeans_iters */
  kmeansIterations: number;
  /** threshold_ema_dead_code */
  deadThreshold: number;
}

export interface JointEmbeddingOptions {
  /** Size of the embeddings. */
  dim: number;
  outputDim: number;
  /** null: embeddings go on as they are. */
  quantizer: EmbeddingQuantizerOptions | null;
  /** Probability with which a training batch is embedded by its texts. */
  textProbability: number;
  /** The 16-bit type that the frozen model computes its matrix products in, or null for float32. */
  autocastType: AutocastType | null;
  seed?: number;
}

export abstract class JointEmbeddingConditioner extends Conditioner<"joint_embed"> {
  readonly kind = "joint_embed";
  readonly quantizer: ResidualVectorQuantizer | null;
  private readonly options: JointEmbeddingOptions;
  protected override readonly generator: TorchGenerator;
  private isReady = false;

  /** @throws UserError when `textProbability` is not a probability */
  constructor(options: JointEmbeddingOptions, init: InitializerStream) {
    const { dim, outputDim, quantizer, textProbability } = options;
    super(dim, outputDim, init);
    if (!(textProbability >= 0 && textProbability <= 1)) {
      throw new UserError(`text_p must be a probability between 0 and 1, got ${textProbability}`);
    }
    this.options = options;
    this.quantizer = quantizer && new ResidualVectorQuantizer({ dimension: dim, ...quantizer }, init);
    this.generator = new TorchGenerator(options.seed ?? 1234);
  }

  /** Embeddings [B, dim] of what is heard. */
  protected abstract embedAudio(batch: JointEmbedBatch): Tensor;

  /** Embeddings [B, dim] of what is written; no text is "". */
  protected abstract embedText(batch: JointEmbedBatch): Tensor;

  /**
   * Training batches are embedded by their audio, or with `textProbability` by their texts, like all others. Rows without
   * what is asked for come out as zeros.
   */
  override prepare(batch: JointEmbedBatch, { training }: PrepareOptions): PreparedCondition {
    const byText = this.generator.rand() < this.options.textProbability || !training;
    const present = byText ? batch.texts.map((text) => (text ?? "") !== "") : batch.lengths.map((n) => n > 0);
    const rows = present.length;
    const embedded = autocast(this.options.autocastType, () =>
      byText ? this.embedText(batch) : this.embedAudio(batch),
    );
    const input = embedded.reshape([rows, 1, this.options.dim]);
    embedded.dispose();
    const mask = tf.tensor2d(Float32Array.from(present, Number), [rows, 1]);
    const prepared = { input, mask, crossBias: crossBias(1) };
    const { quantizer } = this.options;
    if (quantizer === null) return prepared;
    this.makeReady(input, present);
    const dropped = training && quantizer.codebookDropout;
    const used = dropped ? 1 + this.generator.randint(quantizer.codebooks) : quantizer.codebooks;
    const seed = () => this.generator.randint(2 ** 31);
    return {
      ...prepared,
      extra: {
        codebooks: tf.scalar(used, "int32"),
        ...(training ? { seed: tf.tensor1d([seed(), seed()], "int32") } : {}),
      },
    };
  }

  override forward(prepared: PreparedCondition, { training }: ForwardOptions): ConditionTensors {
    const { input, extra } = prepared;
    if (this.quantizer === null) return this.project(input, prepared);
    const { codebooks, seed } = extra!;
    const { decay, deadThreshold } = this.options.quantizer!;
    const learning = training ? { decay, deadThreshold, sample: seededSampler(seed) } : null;
    const { quantized } = this.quantizer.forward(input, { codebooks, learning });
    return this.project(quantized, prepared);
  }

  /** Makes the codebooks of the first embeddings of what is there. */
  private makeReady(input: Tensor, present: readonly boolean[]): void {
    if (this.isReady || this.quantizer === null) return;
    if (!isInitialized(this.quantizer)) {
      const rows = present.flatMap((isThere, row) => (isThere ? [row] : []));
      if (rows.length === 0) return;
      tf.tidy(() => {
        const vectors = tf.gather(input.reshape([present.length, -1]), tf.tensor1d(rows, "int32"));
        const { kmeansIterations: iterations } = this.options.quantizer!;
        const sample = generatorSampler(this.generator);
        initializeCodebooks(this.quantizer!, vectors, { iterations, sample, refill: true });
      });
    }
    this.isReady = true;
  }
}
