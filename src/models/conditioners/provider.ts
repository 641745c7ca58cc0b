/** All conditioners of a model by the name of their attribute, and the two halves of their work on a batch. */

import {
  type ConditioningAttributes,
  collateJointEmbeds,
  collateWavs,
  type JointEmbedCondition,
  type WavCondition,
} from "../../data/conditioning.ts";
import { UserError } from "../../errors.ts";
import { Module } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type {
  ConditionBatches,
  Conditioner,
  ConditionTensors,
  ForwardOptions,
  PreparedCondition,
  PrepareOptions,
} from "./base.ts";
import { nullify } from "./base.ts";
import { CONDITION_KINDS, type ConditionKind, dropConditions } from "./dropout.ts";

export type PreparedConditions = Record<string, PreparedCondition>;

export class ConditioningProvider extends Module {
  readonly conditioners: Record<string, Conditioner>;

  /** Whatever order they are in, those for texts come first in all that this gives out, then waveforms, then joint embeddings. */
  constructor(conditioners: Record<string, Conditioner>) {
    super();
    this.conditioners = conditioners;
  }

  /** What users should know about the conditioners, said once. */
  get notices(): string[] {
    return Object.entries(this.conditioners).flatMap(([name, { notices }]) =>
      notices.map((notice) => `conditioners.${name}: ${notice}`),
    );
  }

  /** Reads the files that `prepare` needs for these samples (embedding caches, stems); awaited before it. */
  async load(samples: readonly ConditioningAttributes[]): Promise<void> {
    for (const [name, conditioner] of Object.entries(this.conditioners)) {
      await conditioner.load(collate(samples, conditioner, name));
    }
  }

  /**
   * The host's half, for the samples of a batch. Whoever calls disposes of the tensors (`tf.dispose(prepared)`).
   * @throws UserError when a sample lacks an attribute that a conditioner is for (null is fine, a missing key is not)
   */
  prepare(samples: readonly ConditioningAttributes[], options: PrepareOptions): PreparedConditions {
    const made: PreparedCondition[] = [];
    try {
      return this.each((conditioner, name) => {
        const prepared = conditioner.prepare(collate(samples, conditioner, name), options);
        made.push(prepared);
        return prepared;
      });
    } catch (error) {
      tf.dispose(made as never);
      throw error;
    }
  }

  /** The step's half: embeddings, in the order in which the fuser takes them. */
  forward(
    prepared: PreparedConditions,
    options: ForwardOptions = { training: false },
  ): Record<string, ConditionTensors> {
    return this.each((conditioner, name) => conditioner.forward(prepared[name], options));
  }

  /** The random states of the conditioners that draw, for a checkpoint. */
  randomStates(): Record<string, number[]> {
    const states = Object.entries(this.conditioners).map(([name, conditioner]) => [
      name,
      conditioner.randomState(),
    ]);
    return Object.fromEntries(states.filter(([, state]) => state !== null));
  }

  restoreRandomStates(states: Readonly<Record<string, readonly number[]>>): void {
    for (const [name, state] of Object.entries(states)) this.conditioners[name]?.restoreRandomState(state);
  }

  /**
   * Runs `f` with the draws that `seed` gives (excerpts of a style, melodies of an evaluation), and puts the random states back: what
   * is generated depends on its seed alone, and disturbs no training.
   */
  async withSeed<T>(seed: number, f: () => Promise<T>): Promise<T> {
    const before = this.randomStates();
    for (const conditioner of Object.values(this.conditioners)) conditioner.seedRandomState(seed);
    try {
      return await f();
    } finally {
      this.restoreRandomStates(before);
    }
  }

  override dispose(): void {
    for (const conditioner of Object.values(this.conditioners)) conditioner.dispose();
  }

  /** By kind, as AudioCraft tokenizes: so of [self_wav, description], both prepended, the wav ends up first. */
  private each<T>(f: (conditioner: Conditioner, name: string) => T): Record<string, T> {
    const entries = Object.entries(this.conditioners);
    const byKind = KINDS.flatMap((kind) => entries.filter(([, conditioner]) => conditioner.kind === kind));
    return Object.fromEntries(byKind.map(([name, conditioner]) => [name, f(conditioner, name)]));
  }
}

const KINDS: readonly ConditionKind[] = ["text", "wav", "joint_embed"];

/** Rows of attributes -> the batch of one of them, for its conditioner. */
function collate(
  samples: readonly ConditioningAttributes[],
  { kind }: Conditioner,
  name: string,
): ConditionBatches[ConditionKind] {
  const column = samples.map((sample, index) => {
    const attributes: Record<string, unknown> = sample[kind] ?? {};
    if (Object.hasOwn(attributes, name)) return attributes[name];
    const present = Object.keys(attributes).join(", ") || "none";
    throw new UserError(
      `conditioners.${name}: sample ${index} of the batch has no ${kind} "${name}" (it has: ${present})`,
    );
  });
  if (kind === "text") return column as (string | null)[];
  return kind === "wav"
    ? collateWavs(column as WavCondition[])
    : collateJointEmbeds(column as JointEmbedCondition[]);
}

/** Where the loss counts by all conditions, float32 [B, frames], or null: everywhere. */
export function lossMask(prepared: PreparedConditions): Tensor | null {
  const masks = Object.values(prepared).flatMap((condition) => condition.lossMask ?? []);
  return masks.length === 0 ? null : masks.reduce((product, mask) => tf.mul(product, mask));
}

/** The same samples without any condition: what classifier-free guidance compares with. */
export function nullConditions(samples: readonly ConditioningAttributes[]): ConditioningAttributes[] {
  return dropConditions(samples, nullify, CONDITION_KINDS);
}

/** The same samples without their texts, audio kept: the middle of double guidance (arXiv 2407.12563). */
export function withoutTexts(samples: readonly ConditioningAttributes[]): ConditioningAttributes[] {
  return dropConditions(samples, nullify, ["text"]);
}
