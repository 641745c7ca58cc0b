/** All conditioners of a model by the name of their attribute, and the two halves of their work on a batch. */

import type { ConditioningAttributes } from "../../data/conditioning.ts";
import { UserError } from "../../errors.ts";
import { Module } from "../../nn/index.ts";
import type { Conditioner, ConditionTensors, PreparedCondition, PrepareOptions } from "./base.ts";
import { nullify } from "./base.ts";
import { dropConditions } from "./dropout.ts";

export type PreparedConditions = Record<string, PreparedCondition>;

export class ConditioningProvider extends Module {
  readonly conditioners: Record<string, Conditioner>;

  constructor(conditioners: Record<string, Conditioner>) {
    super();
    this.conditioners = conditioners;
  }

  /**
   * The host's half, for the samples of a batch. Whoever calls disposes of the tensors (`tf.dispose(prepared)`).
   * @throws UserError when a sample lacks an attribute that a conditioner is for (null is fine, a missing key is not)
   */
  prepare(
    samples: readonly Pick<ConditioningAttributes, "text">[],
    options: PrepareOptions,
  ): PreparedConditions {
    const texts = collateTexts(samples, Object.keys(this.conditioners));
    return this.each((conditioner, name) => conditioner.prepare(texts[name], options));
  }

  /** The step's half: embeddings in the order of the conditioners. */
  forward(prepared: PreparedConditions): Record<string, ConditionTensors> {
    return this.each((conditioner, name) => conditioner.forward(prepared[name]));
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

  private each<T>(f: (conditioner: Conditioner, name: string) => T): Record<string, T> {
    return Object.fromEntries(
      Object.entries(this.conditioners).map(([name, conditioner]) => [name, f(conditioner, name)]),
    );
  }
}

/** Rows of attributes -> for each name, its column. */
export function collateTexts(
  samples: readonly Pick<ConditioningAttributes, "text">[],
  names: readonly string[],
): Record<string, (string | null)[]> {
  const column = (name: string) =>
    samples.map(({ text }, index) => {
      if (Object.hasOwn(text, name)) return text[name];
      const present = Object.keys(text).join(", ") || "none";
      throw new UserError(
        `conditioners.${name}: sample ${index} of the batch has no text "${name}" (it has: ${present})`,
      );
    });
  return Object.fromEntries(names.map((name) => [name, column(name)]));
}

/** The same samples without any condition: what classifier-free guidance compares with. */
export function nullConditions(samples: readonly ConditioningAttributes[]): ConditioningAttributes[] {
  return dropConditions(samples, nullify);
}
