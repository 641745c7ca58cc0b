/** How conditions reach the transformer: added to its input, put before it, or as the source of cross-attention. */
import { UserError } from "../../errors.ts";
import { embedding, maskedScore, sinusoidalEmbedding } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type { ConditionTensors } from "./base.ts";

export const FUSE_METHODS = ["sum", "prepend", "cross", "input_interpolate", "ignore"] as const;
export type FuseMethod = (typeof FUSE_METHODS)[number];

/** The config's `fuser`: names of conditions by method. */
export interface FuserConfig extends Partial<Record<FuseMethod, readonly string[]>> {
  /** Adds sinusoids of the position to the source of cross-attention, multiplied by the scale. */
  cross_attention_pos_emb?: boolean;
  cross_attention_pos_emb_scale?: number;
}

export interface Fused {
  /** [B, P + S, D] */
  input: Tensor;
  /** All cross conditions one after the other: source [B, L, D], bias [1, 1, 1, L] or [B, 1, 1, L] for the scores. */
  cross: { source: Tensor; bias: Tensor } | null;
  /** P: how many steps were put before the input. */
  prefixLength: number;
}

export interface FuseOptions {
  /** False after the first call of a step-by-step generation: only that gets the prepended conditions. */
  first?: boolean;
  /**
   * Which steps the input is, in step-by-step generation: from `offset` (int32 scalar, so that a jitted step is traced once) of a
   * sequence of `total` steps. Without it, the input is the whole sequence.
   */
  window?: { offset: Tensor; total: number };
}

export class ConditionFuser {
  /** Whether the transformer needs cross-attention. */
  readonly usesCross: boolean;
  private readonly methods: Map<string, FuseMethod[]>;
  private readonly positionScale: number | null;
  private readonly maskPadding: boolean;

  /**
   * @param maskPadding hide from cross-attention what conditions' masks exclude, row by row, as transformers does; AudioCraft
   *   attends to it (it is zeros)
   */
  constructor(config: FuserConfig, { maskPadding = false } = {}) {
    this.methods = new Map();
    for (const method of FUSE_METHODS) {
      for (const name of config[method] ?? []) {
        this.methods.set(name, [...(this.methods.get(name) ?? []), method]);
      }
    }
    this.usesCross = (config.cross ?? []).length > 0;
    this.maskPadding = maskPadding;
    this.positionScale = config.cross_attention_pos_emb ? (config.cross_attention_pos_emb_scale ?? 1) : null;
  }

  /** Whether some condition has a part in the input of every step. */
  get addsToSteps(): boolean {
    return this.uses("sum") || this.uses("input_interpolate");
  }

  /** Whether some condition comes before the steps. */
  get prepends(): boolean {
    return this.uses("prepend");
  }

  private uses(method: FuseMethod): boolean {
    return [...this.methods.values()].some((methods) => methods.includes(method));
  }

  /** The names that some method lists. */
  get names(): string[] {
    return [...this.methods.keys()];
  }

  /** @throws UserError when no method lists the condition */
  methodsOf(name: string): readonly FuseMethod[] {
    const methods = this.methods.get(name);
    if (methods) return methods;
    throw new UserError(`fuser: condition "${name}" is in none of ${FUSE_METHODS.join(", ")}; add it to one`);
  }

  /** What cross-attention looks at, without fusing the others with an input. */
  crossOf(conditions: Record<string, ConditionTensors>): Fused["cross"] {
    const cross = Object.entries(conditions).filter(([name]) => this.methodsOf(name).includes("cross"));
    return this.crossSource(cross.map(([, condition]) => condition));
  }

  /**
   * Fuses the conditions, in their order, with input [B, S, D]. Each prepended condition goes before those already there.
   * What is summed or interpolated counts the steps put before the input so far.
   */
  fuse(
    input: Tensor,
    conditions: Record<string, ConditionTensors>,
    { first = true, window }: FuseOptions = {},
  ): Fused {
    const steps = input.shape[1]!;
    const cross: ConditionTensors[] = [];
    let fused = input;
    let prefix = 0;
    for (const [name, condition] of Object.entries(conditions)) {
      const { embedding } = condition;
      const total = prefix + (window?.total ?? steps);
      const here = (whole: Tensor) =>
        window && whole.shape[1] !== 1 ? stepsFrom(whole, window.offset, first ? 0 : prefix, fused) : whole;
      for (const method of this.methodsOf(name)) {
        if (method === "sum") fused = tf.add(fused, here(broadcastable(name, embedding, total)));
        else if (method === "input_interpolate")
          fused = tf.add(fused, here(interpolateNearest(embedding, total)));
        else if (method === "cross") cross.push(condition);
        else if (method === "prepend") {
          if (first) fused = tf.concat([embedding, fused], 1);
          prefix += embedding.shape[1]!;
        }
      }
    }
    return { input: fused, cross: this.crossSource(cross), prefixLength: first ? prefix : 0 };
  }

  private crossSource(conditions: ConditionTensors[]): Fused["cross"] {
    if (conditions.length === 0) return null;
    const padding = concat(
      conditions.map(({ crossBias }) => crossBias),
      -1,
    );
    const bias = this.maskPadding ? maskBias(conditions.map(({ mask }) => mask)) : padding;
    const source = concat(
      conditions.map(({ embedding }) => embedding),
      1,
    );
    if (this.positionScale === null) return { source, bias };
    const positions = sinusoidalEmbedding(validPositions(padding), source.shape[2]!);
    return { source: tf.add(source, tf.mul(positions, this.positionScale)), bias };
  }
}

/** Scores' bias [B, 1, 1, L] that hides what the masks [B, L_i] exclude. */
function maskBias(masks: Tensor[]): Tensor {
  const mask = concat(masks, 1);
  const [batch, length] = mask.shape as [number, number];
  return tf.mul(tf.sub(1, mask), maskedScore).reshape([batch, 1, 1, length]);
}

/** A condition of one step, or of as many as it is added to. */
function broadcastable(name: string, embedding: Tensor, steps: number): Tensor {
  const length = embedding.shape[1]!;
  if (length === 1 || length === steps) return embedding;
  throw new UserError(
    `fuser.sum: condition "${name}" has ${length} steps, the input ${steps}; only 1 or as many can be added`,
  );
}

/**
 * The steps of `whole` [B, L, D], from `offset + base`, that belong to `input` [B, S, D]. The last one also stands for those
 * beyond it: at its end a generation has more steps than there were in training, to finish the delayed codebooks.
 */
function stepsFrom(whole: Tensor, offset: Tensor, base: number, input: Tensor): Tensor {
  const indexes = tf.add(tf.range(base, base + input.shape[1]!, 1, "int32"), offset) as Tensor;
  return selectSteps(whole, tf.minimum(indexes, tf.scalar(whole.shape[1]! - 1, "int32")));
}

/** x [B, L, D] -> [B, steps, D], step i from floor(i * L / steps), computed in float32 as PyTorch does. */
function interpolateNearest(x: Tensor, steps: number): Tensor {
  const length = x.shape[1]!;
  const scale = Math.fround(length / steps);
  const indexes = Int32Array.from({ length: steps }, (_, i) =>
    Math.min(Math.floor(Math.fround(i * scale)), length - 1),
  );
  return selectSteps(x, tf.tensor1d(indexes, "int32"));
}

/** x [B, L, D], indexes int32 [S] -> [B, S, D] */
function selectSteps(x: Tensor, indexes: Tensor): Tensor {
  const [batch, length, dim] = x.shape as [number, number, number];
  const rows = embedding(x.transpose([1, 0, 2]).reshape([length, batch * dim]), indexes);
  return rows.reshape([indexes.shape[0], batch, dim]).transpose([1, 0, 2]);
}

/** The place of each step [L] among those that `bias` [1, 1, 1, L] does not hide, as if the hidden ones were not there. */
function validPositions(bias: Tensor): Tensor {
  return tf.cumsum(tf.equal(bias, 0).toFloat().reshape([-1]), 0, true);
}

function concat(tensors: Tensor[], axis: number): Tensor {
  return tensors.length === 1 ? tensors[0] : tf.concat(tensors, axis);
}
