/** The keys that the configs of all solvers have: how a run is carried out, its data, its optimizer, its checkpoints. */
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
  record,
  string,
} from "./schema-types.ts";

export const probability = () => float({ min: 0, max: 1 });
export const count = () => int({ min: 0 });
export const positive = () => int({ min: 1 });
export const seconds = () => float({ min: 0, exclusive: true });
export const sampleCount = () => nullable(positive());
export const floatType = () => oneOf("float32", "float16", "bfloat16", "float64");

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

const optim = object({
  epochs: positive(),
  updates_per_epoch: about("null: as many as the data gives", nullable(positive())),
  lr: about("learning rate", float({ min: 0 })),
  optimizer: oneOf("adam", "adamw", "dadam"),
  max_norm: about("gradients are clipped to this norm; 0: not at all", nullable(float({ min: 0 }))),
  accumulate: optional(about("batches whose gradients are averaged for one update", positive())),
  skip_nonfinite: optional(about("leave out updates that are not finite, instead of ending the run", bool())),
  eager_sync: optional(bool()),
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

/** `generate.audio`: how samples are written. */
export const generatedAudio = object({
  format: oneOf("wav", "mp3", "ogg", "flac"),
  strategy: about("how the level is set", oneOf("clip", "peak", "rms", "loudness")),
  sample_rate: nullable(positive()),
  loudness_headroom_db: optional(float({ min: 0 })),
  peak_clip_headroom_db: optional(float({ min: 0 })),
  rms_headroom_db: optional(float({ min: 0 })),
  loudness_compressor: optional(bool()),
});

/** Of `generate`, beside what the solver generates. */
export const generateKeys = {
  every: about("epochs between two generations; null: only after the last", nullable(count())),
  num_workers: count(),
  path: string(),
  audio: generatedAudio,
};

/** Of `evaluate`. */
export const evaluateKeys = {
  every: nullable(count()),
  num_workers: count(),
  truncate_audio: nullable(seconds()),
  fixed_generation_duration: nullable(seconds()),
  metrics: record(bool()),
};

export const runKeys = {
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
};

/** What every solver's config holds. */
export type RunConfig = Infer<typeof run>;

const run = object({
  ...runKeys,
  generate: object(generateKeys, { open: true }),
  evaluate: object(evaluateKeys),
});
