/** The shape of a T5 model, read from the config.json beside its weights. */
import { UserError } from "../../errors.ts";

export interface T5Config {
  vocabSize: number;
  dModel: number;
  /** Size of one head. */
  dKv: number;
  dFf: number;
  numLayers: number;
  numHeads: number;
  /** Buckets of relative positions, and the distance from which all share the last one. */
  numBuckets: number;
  maxDistance: number;
  epsilon: number;
  /** Dropout when the encoder is trained. */
  dropoutRate: number;
  feedForward: "relu" | "gated-gelu";
}

/**
 * Reads a Hugging Face config.json (parsed) of a T5 model, or of a model that has one as its `text_encoder`. Absent keys
 * have the values of T5 1.0, as there.
 * @param path where it came from, for messages
 * @throws UserError when it is not the config of a T5 model
 */
export function parseT5Config(json: unknown, path: string): T5Config {
  const root = asObject(json, path);
  const config = root.text_encoder === undefined ? root : asObject(root.text_encoder, path);
  const type = config.model_type ?? "t5";
  if (type !== "t5" && type !== "mt5") throw new UserError(`${path}: a T5 model expected, this is "${type}"`);
  const feedForward = config.feed_forward_proj ?? "relu";
  if (feedForward !== "relu" && feedForward !== "gated-gelu") {
    throw new UserError(`${path}: feed_forward_proj "${feedForward}" is not built; relu and gated-gelu are`);
  }
  const positive = (key: string, absent?: number): number => {
    const value = config[key] ?? absent;
    if (typeof value === "number" && value > 0) return value;
    throw new UserError(`${path}: ${key} must be a positive number, got ${JSON.stringify(value)}`);
  };
  const dropoutRate = config.dropout_rate ?? 0.1;
  if (!(typeof dropoutRate === "number" && dropoutRate >= 0 && dropoutRate < 1)) {
    throw new UserError(
      `${path}: dropout_rate must be at least 0 and below 1, got ${JSON.stringify(dropoutRate)}`,
    );
  }
  return {
    vocabSize: positive("vocab_size"),
    dModel: positive("d_model"),
    dKv: positive("d_kv"),
    dFf: positive("d_ff"),
    numLayers: positive("num_layers"),
    numHeads: positive("num_heads"),
    numBuckets: positive("relative_attention_num_buckets", 32),
    maxDistance: positive("relative_attention_max_distance", 128),
    epsilon: positive("layer_norm_epsilon", 1e-6),
    dropoutRate,
    feedForward,
  };
}

function asObject(value: unknown, path: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new UserError(`${path}: not a model's config.json`);
}
