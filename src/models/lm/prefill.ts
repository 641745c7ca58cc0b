/** The beginning of a generation, in one call: conditions, cross-attention's keys and values, and the steps known from the start. */
import { type Jitted, jit, type Tensor, tf } from "../../runtime/index.ts";
import type { ConditionTensors } from "../conditioners/base.ts";
import type { PreparedConditions } from "../conditioners/provider.ts";
import type { CrossSource, KeyValues } from "./attention.ts";
import type { ConditionStreams } from "./generation.ts";
import { rowCopies } from "./guidance.ts";
import type { MusicGenLM } from "./lm.ts";

/** What the steps of one stream take from its conditions. */
export interface StreamConditions {
  /** Cross-attention, per layer. */
  cross: KeyValues[];
  crossBias: Tensor | null;
  /** The conditions that have a part in the input of every step. */
  added: Record<string, ConditionTensors>;
}

export interface Begun {
  streams: StreamConditions[];
  /** Self-attention's keys and values of the known steps, per stream and layer; none when there is only the first step. */
  past: KeyValues[][];
  /** How many steps the conditions of each stream put before the sequence. */
  prefixLengths: number[];
}

export class Prefill {
  private readonly lm: MusicGenLM;
  private readonly begin: Jitted<[Tensor | null, PreparedConditions[], number | null], Begun>;

  constructor(lm: MusicGenLM) {
    this.lm = lm;
    this.begin = jit((...args) => this.beginning(...args), { name: "prefill" });
  }

  /**
   * codes int32 [B, K, S] of the known steps. With `total`, the length of the sequence that the model is trained on, conditions
   * are laid along the steps.
   */
  run(
    codes: Int32Array,
    [batch, nQ, steps]: [number, number, number],
    { guidance, streams }: ConditionStreams,
    total: number | null,
  ): Begun & { dispose(): void } {
    const begun = tf.tidy(() => {
      let tokens: Tensor | null = null;
      if (steps > 1 || this.lm.fuser.prepends) {
        const rows = tf.tensor3d(codes, [batch, nQ, steps], "int32") as Tensor;
        tokens = tf.concat(new Array<Tensor>(rowCopies[guidance]).fill(rows), 0);
      }
      return this.begin(tokens, streams, total) as never;
    }) as Begun;
    return { ...begun, dispose: () => tf.dispose(begun as never) };
  }

  dispose(): void {
    this.begin.dispose();
  }

  /** Without tokens no step runs. */
  private beginning(tokens: Tensor | null, conditions: PreparedConditions[], total: number | null): Begun {
    const { transformer, fuser, conditionProvider } = this.lm;
    const past: KeyValues[][] = [];
    const prefixLengths: number[] = [];
    const streams = conditions.map((prepared): StreamConditions => {
      const embedded = conditionProvider.forward(prepared);
      const kept: KeyValues[] = [];
      let cross: CrossSource | null;
      let prefix = 0;
      if (tokens) {
        const window = total === null ? undefined : { offset: tf.scalar(0, "int32") as Tensor, total };
        const fused = fuser.fuse(this.lm.embed(tokens), embedded, { window });
        ({ cross, prefixLength: prefix } = fused);
        transformer.forward(fused.input, cross, kept);
      } else {
        cross = fuser.crossOf(embedded);
      }
      past.push(kept);
      prefixLengths.push(prefix);
      return {
        cross: cross ? transformer.crossKeyValues(cross.source) : [],
        crossBias: cross?.bias ?? null,
        added: total === null ? {} : embedded,
      };
    });
    return { streams, past, prefixLengths };
  }
}
