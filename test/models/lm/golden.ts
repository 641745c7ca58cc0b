/** The models of test/golden/lm_options, with their inputs; made by the script in that folder. */
import { readFileSync } from "node:fs";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { crossEntropyPerCodebook } from "../../../src/losses/cross_entropy.ts";
import { Conditioner, type PreparedCondition } from "../../../src/models/conditioners/base.ts";
import { ConditionFuser, type FuserConfig } from "../../../src/models/conditioners/fuser.ts";
import { LUTConditioner } from "../../../src/models/conditioners/lut.ts";
import { ConditioningProvider, type PreparedConditions } from "../../../src/models/conditioners/provider.ts";
import { type LMConfig, MusicGenLM } from "../../../src/models/lm/lm.ts";
import { buildPatternProvider, type PatternConfig } from "../../../src/models/lm/patterns.ts";
import { InitializerStream, loadState } from "../../../src/nn/index.ts";
import { type Tensor, tf } from "../../../src/runtime/index.ts";

interface Case {
  config: Partial<LMConfig>;
  fuse: FuserConfig;
  genres: (string | null)[] | null;
  codebooks_pattern: PatternConfig | null;
  generates: boolean;
  cross_attention_pos_emb?: boolean;
  cross_attention_pos_emb_scale?: number;
}

const folder = new URL("../../golden/lm_options/", import.meta.url);

export const cases: Record<string, Case> = JSON.parse(readFileSync(new URL("cases.json", folder), "utf8"));

/** What AudioCraft's `transformer_lm` is where a case says nothing. */
export const defaults: LMConfig = {
  n_q: 4,
  card: 16,
  dim: 16,
  num_heads: 4,
  num_layers: 2,
  hidden_scale: 2,
  dropout: 0,
  attention_dropout: null,
  activation: "gelu",
  norm: "layer_norm",
  norm_first: true,
  bias_proj: false,
  bias_ff: false,
  bias_attn: false,
  causal: true,
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
  weight_init: "gaussian",
  depthwise_init: "current",
  zero_bias_init: true,
  emb_lr: null,
};

/** Takes hidden states as they are. */
class HiddenStates extends Conditioner<"text"> {
  readonly kind = "text";
  prepare(): PreparedCondition {
    throw new Error("the golden hidden states are given");
  }
  forward(prepared: PreparedCondition) {
    return this.project(prepared.input, prepared);
  }
}

/** A model without conditions and weights of its own. */
export function plainLM(options: Partial<LMConfig>, seed = 1): MusicGenLM {
  const config = { ...defaults, ...options };
  const delays = Array.from({ length: config.n_q }, (_, k) => k);
  const patterns = buildPatternProvider({ modeling: "delay", delay: { delays } }, config.n_q);
  const parts = { patterns, provider: new ConditioningProvider({}), fuser: new ConditionFuser({}) };
  return new MusicGenLM(config, parts, new InitializerStream(seed));
}

export function goldenCase(name: string, changes: Partial<LMConfig> = {}) {
  const described = cases[name];
  const file = openSafetensors(new URL(`${name}.safetensors`, folder).pathname);
  const config = { ...defaults, ...described.config, ...changes };
  const float = (key: string) => tf.tensor(file.readFloat32(key), [...file.shape(key)]) as Tensor;
  const int = (key: string) =>
    tf.tensor(Int32Array.from(file.read(key) as Int32Array), [...file.shape(key)], "int32") as Tensor;

  const init = new InitializerStream(0);
  const description = new HiddenStates(12, config.dim, init);
  const lut = { nBins: 20, dim: 6, outputDim: config.dim, tokenizer: "noop" };
  const genre = new LUTConditioner(lut, init);
  const provider = new ConditioningProvider(described.genres ? { description, genre } : { description });
  const fuser = new ConditionFuser({
    ...described.fuse,
    cross_attention_pos_emb: described.cross_attention_pos_emb ?? false,
    cross_attention_pos_emb_scale: described.cross_attention_pos_emb_scale ?? 1,
  });
  const delays = Array.from({ length: config.n_q }, (_, k) => k);
  const pattern = described.codebooks_pattern ?? { modeling: "delay", delay: { delays } };
  const parts = { patterns: buildPatternProvider(pattern, config.n_q), provider, fuser };
  const lm = new MusicGenLM(config, parts, init);
  loadState(lm, {
    path: name,
    names: file.names.filter((key) => key.startsWith("weights.")).map((key) => key.slice(8)),
    shape: (key) => file.shape(`weights.${key}`),
    readFloat32: (key) => file.readFloat32(`weights.${key}`),
  });

  const hidden = float("inputs.description.t5_hidden");
  const conditions: PreparedConditions = {
    description: {
      input: hidden,
      mask: int("inputs.description.attention_mask").toFloat(),
      crossBias: tf.zeros([1, 1, 1, hidden.shape[1]!]),
    },
    ...(described.genres ? { genre: genre.prepare(described.genres, { training: false }) } : {}),
  };
  const padding = tf.tensor(Float32Array.from(file.read("inputs.padding_mask") as Uint8Array), [
    ...file.shape("inputs.padding_mask"),
  ]) as Tensor;
  return { lm, file, config, conditions, codes: int("inputs.codes"), padding, float, int };
}

/** Loss as the solver computes it; `padding` [B, K, T] leaves cells out. */
export function lossOf(
  lm: MusicGenLM,
  codes: Tensor,
  conditions: PreparedConditions,
  padding: Tensor | null = null,
) {
  const { logits, targets, mask } = lm.predictions(codes, lm.conditionProvider.forward(conditions));
  const counted = padding === null ? mask : tf.mul(mask, lm.alongSteps(padding));
  return crossEntropyPerCodebook(logits, targets, counted as Tensor);
}
