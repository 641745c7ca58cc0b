/**
 * The keys of a MusicGen run: types, ranges, allowed values and meaning. From this one description come the TypeScript
 * types and the validation of a composed config. Key names are AudioCraft's.
 */

import { UserError } from "../errors.ts";
import type { ComposedConfig } from "./config.ts";
import { describeSource } from "./node.ts";
import {
  about,
  anything,
  bool,
  float,
  type Infer,
  int,
  list,
  matching,
  nullable,
  object,
  oneOf,
  optional,
  type Problem,
  record,
  string,
} from "./schema-types.ts";
import { BUILT_SOLVERS, UNBUILT_SOLVERS } from "./solver-names.ts";

const probability = () => float({ min: 0, max: 1 });
const count = () => int({ min: 0 });
const positive = () => int({ min: 1 });
const seconds = () => float({ min: 0, exclusive: true });
const sampleCount = () => nullable(positive());
const floatType = () => oneOf("float32", "float16", "bfloat16", "float64");

const split = {
  batch_size: optional(about("batch size of this split, instead of dataset.batch_size", positive())),
  segment_duration: optional(about("seconds; null: whole files", nullable(seconds()))),
  min_audio_duration: optional(about("shorter files are left out (s)", nullable(float({ min: 0 })))),
  max_audio_duration: optional(about("longer files are left out (s)", nullable(float({ min: 0 })))),
  min_segment_ratio: optional(probability()),
  shuffle: optional(bool()),
  return_info: optional(bool()),
  sample_on_duration: optional(bool()),
  sample_on_weight: optional(bool()),
  merge_text_p: optional(about("probability of merging other fields into the description", probability())),
  drop_desc_p: optional(
    about("probability of dropping the original description when merging", probability()),
  ),
  drop_other_p: optional(about("probability of dropping each other field when merging", probability())),
};

const dataset = object({
  batch_size: about("segments per update, over all processes", positive()),
  num_workers: about("processes or threads that decode audio", count()),
  segment_duration: about("seconds of audio per example; null: whole files", nullable(seconds())),
  num_samples: about("examples per epoch; null: all", sampleCount()),
  return_info: bool(),
  shuffle: bool(),
  sample_on_duration: about("draw long files more often", bool()),
  sample_on_weight: about("draw files by their weight in the manifest", bool()),
  min_segment_ratio: about(
    "least part of a segment that must hold audio, the rest is silence",
    probability(),
  ),
  min_audio_duration: optional(nullable(float({ min: 0 }))),
  max_audio_duration: optional(nullable(float({ min: 0 }))),
  train: object({
    ...split,
    num_samples: sampleCount(),
    shuffle: bool(),
    shuffle_seed: about("changes which files an epoch draws", count()),
    permutation_on_files: about("each file once per pass, in a new order", bool()),
  }),
  valid: object({ ...split, num_samples: sampleCount() }),
  evaluate: object({ ...split, num_samples: sampleCount() }),
  generate: object({ ...split, num_samples: sampleCount(), return_info: bool() }),
  joint_embed_attributes: optional(list(string())),
});

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

const optim = object({
  epochs: positive(),
  updates_per_epoch: about("null: as many as the data gives", nullable(positive())),
  lr: about("learning rate", float({ min: 0 })),
  optimizer: oneOf("adam", "adamw", "dadam"),
  max_norm: about("gradients are clipped to this norm; 0: not at all", nullable(float({ min: 0 }))),
  accumulate: optional(about("batches whose gradients are averaged for one update", positive())),
  skip_nonfinite: optional(about("leave out updates that are not finite, instead of ending the run", bool())),
  eager_sync: bool(),
  adam: object({
    betas: list(float({ min: 0, max: 1 })),
    weight_decay: float({ min: 0 }),
    eps: optional(float({ min: 0 })),
  }),
  ema: object({
    use: about("keep an average of the weights", bool()),
    updates: about("updates between two steps of the average", nullable(positive())),
    device: string(),
    decay: probability(),
  }),
});

const warmup = () => about("updates of linear warm-up", nullable(count()));

const schedule = object({
  lr_scheduler: nullable(
    oneOf("step", "exponential", "cosine", "polynomial_decay", "inverse_sqrt", "linear_warmup"),
  ),
  step: object({ step_size: nullable(positive()), gamma: nullable(float({ min: 0 })) }),
  exponential: object({ lr_decay: nullable(float({ min: 0 })) }),
  cosine: object({
    warmup: warmup(),
    lr_min_ratio: probability(),
    cycle_length: float({ min: 0, exclusive: true }),
  }),
  polynomial_decay: object({
    warmup: warmup(),
    zero_lr_warmup_steps: count(),
    end_lr: float({ min: 0 }),
    power: float({ min: 0 }),
  }),
  inverse_sqrt: object({ warmup: warmup(), warmup_init_lr: nullable(float({ min: 0 })) }),
  linear_warmup: object({ warmup: warmup(), warmup_init_lr: nullable(float({ min: 0 })) }),
});

const generate = object({
  every: about("epochs between two generations; null: only after the last", nullable(count())),
  num_workers: count(),
  path: string(),
  audio: object({
    format: oneOf("wav", "mp3", "ogg", "flac"),
    strategy: about("how the level is set", oneOf("clip", "peak", "rms", "loudness")),
    sample_rate: nullable(positive()),
    loudness_headroom_db: optional(float({ min: 0 })),
    peak_clip_headroom_db: optional(float({ min: 0 })),
    rms_headroom_db: optional(float({ min: 0 })),
    loudness_compressor: optional(bool()),
  }),
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
    solver: about("what is trained", string()),
    device: about(
      "cuda falls back to the CPU where there is none; cuda:1 is the second GPU",
      matching<"cpu" | "cuda" | `cuda:${number}`>(/^(cpu|cuda(:\d+)?)$/, "cuda", "cuda:0", "cuda:1", "cpu"),
    ),
    dtype: about("type of the weights", floatType()),
    autocast: about("compute in a shorter float type", bool()),
    autocast_dtype: oneOf("float16", "bfloat16"),
    jit: optional(
      about(
        "how a step is executed: op by op, TensorFlow's graph executor, XLA",
        oneOf("auto", "none", "graph", "xla"),
      ),
    ),
    gpu: optional(
      object({
        memory_growth: about("take the GPU's memory as it is needed", bool()),
        memory_limit_mb: about("never take more of it; null: all there is", nullable(positive())),
      }),
    ),
    jit_report: optional(about("log the ops and the cost of the training step, and write its graph", bool())),
    stage_samples: optional(
      about(
        "samples of a stage after training: auto (as an epoch trains on), a number, null (all)",
        anything(),
      ),
    ),
    plugins: optional(about("modules to load first, for solvers of one's own", list(string()))),
    seed: nullable(int()),
    show: about("print the model and stop", bool()),
    continue_from: about("start from the weights of another run or file", nullable(string())),
    execute_only: about(
      "run one stage of a trained model",
      nullable(oneOf("train", "valid", "evaluate", "generate")),
    ),
    execute_inplace: bool(),
    benchmark_no_load: about("repeat the first batch", bool()),
    efficient_attention_backend: oneOf("torch", "xformers"),
    num_threads: positive(),
    mp_start_method: string(),
    label: about("free text; gives an equal run another signature", nullable(anything())),
    logging: object({
      level: oneOf("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
      log_updates: about("log lines per stage", positive()),
      log_tensorboard: bool(),
      log_wandb: bool(),
      log_mlflow: optional(bool()),
    }),
    tensorboard: object({
      with_media_logging: bool(),
      name: nullable(string()),
      sub_dir: nullable(string()),
    }),
    wandb: record(anything()),
    mlflow: optional(
      object({ tracking_uri: nullable(string()), experiment: string(), name: nullable(string()) }),
    ),
    slurm: record(anything()),
    dora: object(
      { dir: string(), exclude: list(string()), use_rendezvous: bool(), git_save: bool() },
      { open: true },
    ),
    datasource: object({
      max_sample_rate: about("highest sample rate in the data", positive()),
      max_channels: positive(),
      train: about("folder with data.jsonl", nullable(string())),
      valid: nullable(string()),
      evaluate: nullable(string()),
      generate: nullable(string()),
    }),
    dataset,
    sample_rate: about("of the model; audio is resampled to it", positive()),
    channels: about("of the model", int({ min: 1, max: 2 })),
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
    optim,
    schedule,
    checkpoint: object({
      every_updates: optional(
        about("updates between two checkpoints in the middle of an epoch", nullable(positive())),
      ),
      save_last: about("write a checkpoint after every epoch", bool()),
      save_every: about("epochs between two checkpoints that are kept", nullable(count())),
      keep_last: about("how many of these to keep; null: all", nullable(count())),
      keep_every_states: nullable(list(string())),
    }),
    generate,
    evaluate: object({
      every: nullable(count()),
      num_workers: count(),
      truncate_audio: nullable(seconds()),
      fixed_generation_duration: nullable(seconds()),
      metrics: record(bool()),
    }),
    metrics: record(anything()),
    fsdp: object({
      use: bool(),
      param_dtype: floatType(),
      reduce_dtype: floatType(),
      buffer_dtype: floatType(),
      sharding_strategy: oneOf("no_shard", "shard_grad_op", "full_shard"),
      per_block: bool(),
    }),
    profiler: object({ enabled: bool() }),
    deadlock: object({ use: bool(), timeout: float({ min: 0 }) }),
  },
  { open: true },
);

/** The known keys of a MusicGen run. */
export const musicGenSchema = musicgen;

/** A validated MusicGen config: plain values under AudioCraft's key names. */
export type MusicGenConfig = Infer<typeof musicgen>;

/** Checks a config against the schema. Throws one UserError that lists what is wrong, where it was set and what would do. */
export function asMusicGenConfig(config: ComposedConfig): MusicGenConfig {
  const values = config.toObject({ keepMissing: true });
  const solver = values.solver as string;
  const plugins = (values.plugins ?? []) as string[];
  // a plugin may bring any solver; the registry knows once it is loaded
  if (plugins.length === 0 && !(BUILT_SOLVERS as readonly string[]).includes(solver)) {
    const state = UNBUILT_SOLVERS.includes(solver) ? "not built" : "unknown";
    throw new UserError(
      `solver ${solver} is ${state}; built: ${BUILT_SOLVERS[0]} (plugins=[FILE] loads solvers of your own)`,
    );
  }
  const problems: Problem[] = [];
  musicgen.check(values, "", problems);
  if (problems.length === 0) return values as unknown as MusicGenConfig;
  const shown = problems.slice(0, 10).map((problem) => describe(problem, config));
  const rest = problems.length > 10 ? `\n  and ${problems.length - 10} more` : "";
  throw new UserError(`the config is not valid:\n  ${shown.join("\n  ")}${rest}`);
}

function describe({ path, message, suggestion }: Problem, config: ComposedConfig): string {
  const where = describeSource(config.source(path));
  const hint = suggestion ? `; did you mean ${suggestion}?` : "";
  return `${path}: ${message}${hint}${where ? ` (set by ${where})` : ""}`;
}
