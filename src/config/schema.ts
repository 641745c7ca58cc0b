/**
 * The keys of a MusicGen run: types, ranges, allowed values and meaning. From this one description come the TypeScript
 * types and the validation of a composed config. Key names are AudioCraft's.
 */
import { UserError } from "../errors.ts";
import type { ComposedConfig } from "./config.ts";
import { count, evaluateKeys, generateKeys, positive, probability, runKeys, seconds } from "./run-schema.ts";
import {
  about,
  anything,
  bool,
  float,
  type Infer,
  int,
  list,
  nullable,
  object,
  oneOf,
  optional,
  record,
  string,
} from "./schema-types.ts";
import { solverOf } from "./solver-names.ts";
import { validated } from "./validate.ts";

const transformerLm = object({
  dim: about("width", positive()),
  num_heads: about("attention heads; divides dim", positive()),
  num_layers: positive(),
  hidden_scale: about("feed-forward width, in units of dim", float({ min: 0, exclusive: true })),
  n_q: about("codebooks", positive()),
  card: about("entries of each codebook", positive()),
  dropout: probability(),
  emb_lr: about("learning rate of the embeddings; null: as the others", nullable(float({ min: 0 }))),
  activation: oneOf("gelu", "relu", "reglu", "geglu", "swiglu"),
  norm_first: about("normalize before each block", bool()),
  bias_ff: bool(),
  bias_attn: bool(),
  bias_proj: bool(),
  past_context: about("steps each step attends to; null: all", nullable(positive())),
  causal: bool(),
  custom: bool(),
  memory_efficient: bool(),
  attention_as_float32: bool(),
  layer_scale: nullable(float()),
  positional_embedding: oneOf("sin", "rope", "sin_rope"),
  xpos: bool(),
  positional_scale: optional(about("strength of the positional embedding; 0: none", float())),
  max_period: optional(float({ min: 0, exclusive: true })),
  lr: optional(about("learning rate of the transformer; null: as the others", nullable(float({ min: 0 })))),
  weight_decay: optional(about("weight decay of the transformer", nullable(float({ min: 0 })))),
  checkpointing: about(
    "recompute activations in the backward pass",
    oneOf("none", "torch", "xformers_default", "xformers_mm"),
  ),
  weight_init: nullable(oneOf("gaussian", "uniform")),
  depthwise_init: nullable(oneOf("current", "global")),
  zero_bias_init: bool(),
  norm: oneOf("layer_norm"),
  cross_attention: bool(),
  cross_attention_mask: optional(about("hide padding from cross-attention, as transformers does", bool())),
  qk_layer_norm: bool(),
  qk_layer_norm_cross: bool(),
  attention_dropout: nullable(probability()),
  kv_repeat: about("query heads per key and value head", positive()),
  q_modeling: optional(nullable(string())),
  two_step_cfg: about("guidance in two passes instead of one doubled batch", bool()),
});

const patternDelays = () => list(count());

const codebooksPattern = object({
  modeling: nullable(oneOf("delay", "parallel", "unroll", "music_lm", "musiclm", "coarse_first")),
  delay: optional(object({ delays: patternDelays(), flatten_first: count(), empty_initial: count() })),
  parallel: optional(object({ empty_initial: int() })),
  unroll: optional(object({ flattening: list(count()), delays: patternDelays() })),
  music_lm: optional(object({ group_by: positive() })),
  coarse_first: optional(object({ delays: patternDelays() })),
});

const conditioner = object(
  {
    model: about("kind of conditioner; its settings stand under the same name", string()),
    t5: optional(
      object({
        name: about("name on the hub", string()),
        finetune: about("train the T5 encoder as well", bool()),
        word_dropout: probability(),
        normalize_text: bool(),
      }),
    ),
    lut: optional(
      object({
        n_bins: about("rows of the table; words are hashed into it", positive()),
        dim: positive(),
        tokenizer: oneOf("whitespace", "noop"),
        pad_idx: count(),
      }),
    ),
  },
  { open: true },
);

const generate = object({
  ...generateKeys,
  lm: object({
    use_sampling: about("sample; false: always the most likely token", bool()),
    temp: float({ min: 0 }),
    top_k: about("sample among the k most likely; 0: all", count()),
    top_p: about("sample among the likeliest tokens of this total probability; 0: off", probability()),
    cfg_coef: optional(about("guidance strength", nullable(float()))),
    cfg_coef_beta: optional(nullable(float())),
    prompted_samples: about("continue the beginning of reference audio", bool()),
    unprompted_samples: bool(),
    no_text_conditioning: bool(),
    gen_gt_samples: about("write the reference instead of generating", bool()),
    prompt_duration: nullable(seconds()),
    gen_duration: nullable(seconds()),
    remove_prompts: bool(),
  }),
});

const musicgen = object(
  {
    ...runKeys,
    compression_model_checkpoint: about(
      "the codec: //embedded/…, //pretrained/…, //sig/… or a path",
      string(),
    ),
    compression_model_n_q: about("codebooks to use; null: all", nullable(positive())),
    tokens: object({ padding_with_special_token: bool() }),
    interleave_stereo_codebooks: object({ use: bool(), per_timestep: bool() }),
    cache: object({
      path: about("folder with tokens to train on instead of audio", nullable(string())),
      write: about("write the tokens of this run's updates there, instead of reading them", bool()),
      write_shard: about("which of the jobs that write at once this is", count()),
      write_num_shards: about("how many there are", positive()),
      splits: optional(about("what is read from a cache of whole files", list(string()))),
      text_path: optional(about("folder for the states of a frozen T5", nullable(string()))),
      text_dtype: optional(oneOf("float32", "float16", "bfloat16")),
    }),
    lm_model: oneOf("transformer_lm"),
    transformer_lm: transformerLm,
    codebooks_pattern: codebooksPattern,
    classifier_free_guidance: object({
      training_dropout: about("probability of training without conditions", probability()),
      inference_coef: about("guidance strength", float()),
    }),
    attribute_dropout: record(anything()),
    fuser: object({
      cross_attention_pos_emb: bool(),
      cross_attention_pos_emb_scale: float(),
      sum: list(string()),
      prepend: list(string()),
      cross: list(string()),
      ignore: optional(list(string())),
      input_interpolate: list(string()),
    }),
    conditioners: nullable(record(conditioner)),
    generate,
    evaluate: object(evaluateKeys),
    metrics: record(anything()),
  },
  { open: true },
);

/** The known keys of a MusicGen run. */
export const musicGenSchema = musicgen;

/** A validated MusicGen config: plain values under AudioCraft's key names. */
export type MusicGenConfig = Infer<typeof musicgen>;

/** Checks a config against the schema. Throws one UserError that lists what is wrong, where it was set and what would do. */
export function asMusicGenConfig(config: ComposedConfig): MusicGenConfig {
  const solver = solverOf(config);
  if (solver === "compression") {
    throw new UserError(
      "solver=compression trains a codec, and a language model is needed here; a codec is for compression_model_checkpoint=//sig/…",
    );
  }
  return validated(config, musicgen);
}
