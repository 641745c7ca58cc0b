/**
 * Conditioners turn attributes of a sample (its description, a melody, …) into sequences of vectors for the language model.
 *
 * Each works in two halves, because a training step is one jitted function: `prepare` runs outside of the step and does
 * what needs the host or is not trained (tokens, chroma, a frozen encoder); `forward` runs inside and is trained.
 */

import {
  type ConditioningAttributes,
  type JointEmbedBatch,
  type JointEmbedCondition,
  nullJointEmbed,
  nullWav,
  type WavBatch,
  type WavCondition,
} from "../../data/conditioning.ts";
import { type Initializer, type InitializerStream, Linear, Module, maskedScore } from "../../nn/index.ts";
import type { TorchGenerator } from "../../random/mt19937.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type { TokenBatch } from "../token_batch.ts";
import type { ConditionKind, Nullify } from "./dropout.ts";

/** How the audio conditions of a sample are dropped; a dropped text is null. */
export const nullify: Nullify<WavCondition, JointEmbedCondition> = {
  wav: nullWav,
  joint_embed: nullJointEmbed,
};

/** Attributes of a sample that has only texts; null stands for an unknown one. */
export function textAttributes(text: Record<string, string | null>): ConditioningAttributes {
  return { text, wav: {}, joint_embed: {} };
}

/** A batch's values of one attribute, by the attribute's kind. */
export interface ConditionBatches {
  /** null is "no condition" */
  text: readonly (string | null)[];
  wav: WavBatch;
  joint_embed: JointEmbedBatch;
}

/**
 * A batch of conditions on its way into the step: only tensors, because any number here would be part of the traced
 * function, and tracing once per text length is what the padding avoids. The shapes should be few over a whole training.
 * The caller disposes of them (`tf.dispose`).
 */
export interface PreparedCondition {
  /** Token ids int32 [B, L], or features [B, L, H] that are not trained: chroma, the hidden states of a frozen encoder. */
  input: Tensor;
  /** float32 [B, L]: 1 on what is there, 0 on padding and on conditions that are not there. */
  mask: Tensor;
  /** float32 [1, 1, 1, L]: 0 up to the batch's own length, `maskedScore` on what is only padding to `lengthMultiple`. */
  crossBias: Tensor;
  /**
   * float32 [B, frames of the codec]: 0 where the loss must not count, because the condition was cut from there. Absent when all
   * counts, and outside training.
   */
  lossMask?: Tensor;
  /** What else the conditioner's `forward` needs, such as its random draws. */
  extra?: Record<string, Tensor>;
}

/** Conditions as the fuser takes them. */
export interface ConditionTensors {
  /** [B, L, D], zero where the mask is 0. */
  embedding: Tensor;
  mask: Tensor;
  crossBias: Tensor;
}

export interface PrepareOptions {
  /** Whether random augmentations of the conditions (word dropout) act. */
  training: boolean;
}

export interface ForwardOptions {
  /** Whether gradients are taken: batch norms use the batch, quantizers learn their codebooks. */
  training: boolean;
}

export abstract class Conditioner<Kind extends ConditionKind = ConditionKind> extends Module {
  /** Which attributes it is for. */
  abstract readonly kind: Kind;
  readonly outputProj: Linear;
  /** Where `prepare` takes its random draws from; null when it makes none. */
  protected readonly generator: TorchGenerator | null = null;

  /** From `dim` to the model's `outputDim`, with PyTorch's default initialisation or `weight`. */
  constructor(dim: number, outputDim: number, init: InitializerStream, weight?: Initializer) {
    super();
    this.outputProj = new Linear(dim, outputDim, init, { weight });
  }

  /** What users should know before they train with it, said once. */
  get notices(): string[] {
    return [];
  }

  /** Reads the files that `prepare` needs for the batch; awaited before it. */
  async load(_batch: ConditionBatches[Kind]): Promise<void> {}

  /** The host's half, for the attribute's values in a batch. Not inside `jit`. */
  abstract prepare(batch: ConditionBatches[Kind], options: PrepareOptions): PreparedCondition;

  /** The step's half. */
  abstract forward(prepared: PreparedCondition, options: ForwardOptions): ConditionTensors;

  /** The state of the random draws that `prepare` makes, for a checkpoint; null when it makes none. */
  randomState(): number[] | null {
    return this.generator?.state() ?? null;
  }

  restoreRandomState(state: readonly number[]): void {
    this.generator?.restore(state);
  }

  /** Starts the random draws anew. */
  seedRandomState(seed: number): void {
    this.generator?.seed(seed);
  }

  /** hidden [B, L, dim] -> projected and masked, so that the bias does not reach what is not there. */
  protected project(
    hidden: Tensor,
    { mask, crossBias }: Pick<PreparedCondition, "mask" | "crossBias">,
  ): ConditionTensors {
    const embedding = tf.mul(this.outputProj.forward(hidden), mask.expandDims(-1)) as Tensor;
    return { embedding, mask, crossBias };
  }
}

/** The `crossBias` of `length` steps that are padded to `padded`. */
export function crossBias(length: number, padded = length): Tensor {
  return tf.tensor4d(new Float32Array(padded).fill(maskedScore, length), [1, 1, 1, padded]);
}

/** Few lengths for many: `multiple`, twice that, four times … */
export function bucketLength(length: number, multiple: number): number {
  if (multiple === 1) return length;
  let bucket = multiple;
  while (bucket < length) bucket *= 2;
  return bucket;
}

/**
 * Pads a batch of tokens from its own length to `lengthMultiple` times a power of two (1: not at all) and puts it into tensors.
 *
 * A jitted function is traced once per shape, so texts of every length would mean a trace each. But padding matters:
 * AudioCraft's cross-attention has no mask, so the zero vectors up to the longest text of the batch take part. `crossBias`
 * hides those beyond, and only those, which leaves the results as if the batch ended at its longest text.
 */
export function padTokens(
  { ids, mask, length }: TokenBatch,
  padIndex: number,
  lengthMultiple: number,
): PreparedCondition {
  const rows = ids.length / length;
  const padded = bucketLength(length, lengthMultiple);
  const paddedIds = new Int32Array(rows * padded).fill(padIndex);
  const paddedMask = new Float32Array(rows * padded);
  for (let row = 0; row < rows; row++) {
    paddedIds.set(ids.subarray(row * length, (row + 1) * length), row * padded);
    paddedMask.set(mask.subarray(row * length, (row + 1) * length), row * padded);
  }
  return {
    input: tf.tensor2d(paddedIds, [rows, padded], "int32"),
    mask: tf.tensor2d(paddedMask, [rows, padded]),
    crossBias: crossBias(length, padded),
  };
}
