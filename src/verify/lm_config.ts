/** A golden language model's settings out of its meta.json: options of the model, fusing, codebook pattern. */
import type { FuserConfig } from "../models/conditioners/fuser.ts";
import type { LMConfig } from "../models/lm/lm.ts";
import { buildPatternProvider, type PatternConfig, type PatternProvider } from "../models/lm/patterns.ts";
import type { GoldenFolder, Json } from "./folder.ts";

/** What the original's classes take for options that are left out. */
export const classDefaults = {
  n_q: 8,
  card: 1024,
  dim: 128,
  num_heads: 8,
  num_layers: 8,
  hidden_scale: 4,
  norm: "layer_norm",
  norm_first: false,
  bias_proj: true,
  bias_ff: true,
  bias_attn: true,
  weight_init: null,
  depthwise_init: null,
  zero_bias_init: false,
  causal: false,
  dropout: 0,
  attention_dropout: null,
  activation: "relu",
  past_context: null,
  layer_scale: null,
  positional_embedding: "sin",
  max_period: 10000,
  positional_scale: 1,
  xpos: false,
  cross_attention: false,
  cross_attention_mask: false,
  attention_as_float32: false,
  custom: false,
  memory_efficient: false,
  checkpointing: "none",
  kv_repeat: 1,
  qk_layer_norm: false,
  qk_layer_norm_cross: false,
  emb_lr: null,
  two_step_cfg: false,
};

/** `meta.config` is the original's `transformer_lm`. */
export function lmConfig(folder: GoldenFolder): LMConfig {
  const config = (folder.meta.config ?? {}) as Json;
  const given = (config.transformer_lm ?? config) as Json;
  const crosses = (fuserConfig(folder).cross ?? []).length > 0;
  const options = { ...classDefaults, ...given, cross_attention: crosses || given.cross_attention === true };
  return options as unknown as LMConfig;
}

/** `meta.fuse`: names of conditions by method; the position embedding of cross-attention beside it or in it. */
export function fuserConfig({ meta }: GoldenFolder): FuserConfig {
  const config = (meta.config ?? {}) as Json;
  const fuse = (meta.fuse ?? meta.fuser ?? config.fuser ?? {}) as FuserConfig;
  const option = (name: string) => (fuse as Json)[name] ?? meta[name] ?? config[name];
  return {
    ...fuse,
    cross_attention_pos_emb: (option("cross_attention_pos_emb") as boolean | undefined) ?? false,
    cross_attention_pos_emb_scale: (option("cross_attention_pos_emb_scale") as number | undefined) ?? 1,
  };
}

/**
 * The pattern that meta.json describes, or else delays as the interleaved codes show them (stereo models delay both
 * channels alike: 0, 0, 1, 1, …).
 */
export function patternProvider(folder: GoldenFolder, nQ: number): PatternProvider {
  const config = (folder.meta.config ?? {}) as Json;
  const described = folder.meta.codebooks_pattern ?? folder.meta.pattern ?? config.codebooks_pattern;
  if (typeof described === "string") return buildPatternProvider({ modeling: described }, nQ);
  if (typeof described === "object" && described !== null) {
    const { modeling, name, provider, kwargs, ...sections } = described as Json;
    const pattern = (modeling ?? name ?? provider ?? "delay") as string;
    const options = kwargs ?? sections[pattern] ?? (modeling === undefined ? sections : {});
    return buildPatternProvider({ modeling: pattern, [pattern]: options } as PatternConfig, nQ);
  }
  const delays = (folder.meta.delays ?? config.delays ?? shownDelays(folder, nQ)) as number[];
  return buildPatternProvider({ modeling: "delay", delay: { delays } }, nQ);
}

/** How many special tokens each codebook of `sequence_codes` starts with, less the one that all have. */
function shownDelays(folder: GoldenFolder, nQ: number): number[] {
  const outputs = folder.tensors("outputs");
  if (!outputs.has("sequence_codes")) return Array.from({ length: nQ }, (_, q) => q);
  const codes = folder.values("outputs", "sequence_codes");
  const steps = outputs.shape("sequence_codes")[2];
  const special = lmConfig(folder).card;
  return Array.from({ length: nQ }, (_, q) => {
    const row = codes.subarray(q * steps, (q + 1) * steps);
    return Math.max(0, row.findIndex((code) => code !== special) - 1);
  });
}
