/** How conditions reach the transformer: added to its input, put before it, or as the source of cross-attention. */
import { UserError } from "../../errors.ts";
import { embedding, sinusoidalEmbedding } from "../../nn/index.ts";
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
  /** All cross conditions one after the other: source [B, L, D], bias [1, 1, 1, L] for the scores. */
  cross: { source: Tensor; bias: Tensor } | null;
  /** P: how many steps were put before the input. */
  prefixLength: number;
}

export class ConditionFuser {
  /** Whether the transformer needs cross-attention. */
  readonly usesCross: boolean;
  private readonly methods: Map<string, FuseMethod[]>;
  private readonly positionScale: number | null;

  constructor(config: FuserConfig) {
    this.methods = new Map();
    for (const method of FUSE_METHODS) {
      for (const name of config[method] ?? []) {
        this.methods.set(name, [...(this.methods.get(name) ?? []), method]);
      }
    }
    this.usesCross = (config.cross ?? []).length > 0;
    this.positionScale = config.cross_attention_pos_emb ? (config.cross_attention_pos_emb_scale ?? 1) : null;
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

  /**
   * Fuses the conditions, in their order, with input [B, S, D]. In step-by-step generation `first` is false after the
   * first call, which alone gets the prepended conditions. Each prepended condition goes before those already there.
   * Masks are not looked at: what is not there is zeros.
   */
  fuse(input: Tensor, conditions: Record<string, ConditionTensors>, { first = true } = {}): Fused {
    const steps = input.shape[1]!;
    const cross: ConditionTensors[] = [];
    let fused = input;
    let prefixLength = 0;
    for (const [name, condition] of Object.entries(conditions)) {
      const { embedding } = condition;
      for (const method of this.methodsOf(name)) {
        if (method === "sum") fused = tf.add(fused, broadcastable(name, embedding, fused));
        else if (method === "input_interpolate")
          fused = tf.add(fused, interpolateNearest(embedding, fused.shape[1]!));
        else if (method === "cross") cross.push(condition);
        else if (method === "prepend" && first) {
          fused = tf.concat([embedding, fused], 1);
          prefixLength = fused.shape[1]! - steps;
        }
      }
    }
    return { input: fused, cross: this.crossSource(cross), prefixLength };
  }

  private crossSource(conditions: ConditionTensors[]): Fused["cross"] {
    if (conditions.length === 0) return null;
    const bias = concat(
      conditions.map(({ crossBias }) => crossBias),
      -1,
    );
    const source = concat(
      conditions.map(({ embedding }) => embedding),
      1,
    );
    if (this.positionScale === null) return { source, bias };
    const positions = sinusoidalEmbedding(validPositions(bias), source.shape[2]!);
    return { source: tf.add(source, tf.mul(positions, this.positionScale)), bias };
  }
}

/** A condition of one step, or of as many as the input has. */
function broadcastable(name: string, embedding: Tensor, input: Tensor): Tensor {
  const [length, steps] = [embedding.shape[1]!, input.shape[1]!];
  if (length === 1 || length === steps) return embedding;
  throw new UserError(
    `fuser.sum: condition "${name}" has ${length} steps, the input ${steps}; only 1 or as many can be added`,
  );
}

/** x [B, L, D] -> [B, steps, D], step i from floor(i * L / steps), computed in float32 as PyTorch does. */
function interpolateNearest(x: Tensor, steps: number): Tensor {
  const [batch, length, dim] = x.shape as [number, number, number];
  const scale = Math.fround(length / steps);
  const indexes = Int32Array.from({ length: steps }, (_, i) =>
    Math.min(Math.floor(Math.fround(i * scale)), length - 1),
  );
  const rows = embedding(
    x.transpose([1, 0, 2]).reshape([length, batch * dim]),
    tf.tensor1d(indexes, "int32"),
  );
  return rows.reshape([steps, batch, dim]).transpose([1, 0, 2]);
}

/** The place of each step [L] among those that `bias` [1, 1, 1, L] does not hide, as if the hidden ones were not there. */
function validPositions(bias: Tensor): Tensor {
  return tf.cumsum(tf.equal(bias, 0).toFloat().reshape([-1]), 0, true);
}

function concat(tensors: Tensor[], axis: number): Tensor {
  return tensors.length === 1 ? tensors[0] : tf.concat(tensors, axis);
}
