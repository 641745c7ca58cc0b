/** Builds the loaders of a run from its composed config (AudioCraft's keys). */
import { availableParallelism } from "node:os";
import { UserError } from "../errors.ts";
import type { AudioDatasetOptions, SegmentInfo } from "./audio_dataset.ts";
import type { TokenDatasetOptions } from "./cache/token_dataset.ts";
import type { DatasetSpec } from "./dataset_spec.ts";
import { DataLoader } from "./loader.ts";
import type { PathMappers } from "./manifest.ts";
import type { MusicDatasetOptions } from "./music_dataset.ts";
import type { SoundDatasetOptions } from "./sound_dataset.ts";

export const SPLITS = ["train", "valid", "evaluate", "generate"] as const;
export type Split = (typeof SPLITS)[number];

type Tree = Record<string, unknown>;

/** The parts of the composed config that data is built from. */
export interface DataConfig {
  sample_rate: number;
  channels: number;
  seed: number;
  datasource: Tree;
  dataset: Tree;
  execute_only?: string | null;
  optim?: { updates_per_epoch?: number | null; accumulate?: number } & Tree;
}

export interface BuildOptions {
  type: DatasetSpec["type"];
  warn?: (message: string) => void;
  /** Place of this process in a distributed run. `dataset.batch_size` counts items per process. */
  rank?: number;
  worldSize?: number;
  /** The team's replacements in paths (`dataset_mappers`). */
  mappers?: PathMappers;
  /** A cache of tokens, and the splits that are read from it instead of audio. */
  cache?: Pick<TokenDatasetOptions, "cachePath" | "phantomWav"> & { splits: readonly string[] };
  /** Folder from which relative paths are looked up. Default: the current one. */
  cwd?: string;
}

/**
 * A loader for each split that has a data source: `datasource.<split>` with the keys of `dataset`, overlaid by those of
 * `dataset.<split>`. With `execute_only`, only that split. Throws UserError for sources that the model cannot use, missing
 * manifests and unknown keys.
 */
export function buildLoaders<Info extends SegmentInfo = SegmentInfo>(
  cfg: DataConfig,
  splits: readonly Split[],
  options: BuildOptions,
): Partial<Record<Split, DataLoader<Info>>> {
  checkSource(cfg);
  const warn = options.warn ?? (() => {});
  const workers = workerLimit(warn);
  const loaders: Partial<Record<Split, DataLoader<Info>>> = {};
  for (const split of splits) {
    if (cfg.execute_only && cfg.execute_only !== split) continue;
    const source = cfg.datasource[split];
    if (source === null || source === undefined) continue;
    if (typeof source !== "string")
      throw new UserError(
        `datasource.${split} must be the path of a manifest, but is ${JSON.stringify(source)}`,
      );
    loaders[split] = buildLoader<Info>(cfg, split, source, workers, { ...options, warn });
  }
  return loaders;
}

function checkSource({ datasource, sample_rate, channels }: DataConfig): void {
  const { max_sample_rate, max_channels } = datasource;
  if (typeof max_sample_rate === "number" && sample_rate > max_sample_rate)
    throw new UserError(
      `sample_rate=${sample_rate} is above datasource.max_sample_rate=${max_sample_rate}: the audio would lack high frequencies`,
    );
  if (typeof max_channels === "number" && channels > max_channels)
    throw new UserError(`channels=${channels} is above datasource.max_channels=${max_channels}`);
}

/** Caps worker counts at the number of cores, and says so once. */
function workerLimit(warn: (message: string) => void): (asked: number) => number {
  let said = false;
  return (asked) => {
    const cores = availableParallelism();
    if (asked <= cores) return asked;
    if (!said) warn(`dataset.num_workers=${asked}: using ${cores}, one for each core of this machine`);
    said = true;
    return cores;
  };
}

function buildLoader<Info extends SegmentInfo>(
  cfg: DataConfig,
  split: Split,
  source: string,
  workers: (asked: number) => number,
  options: BuildOptions & { warn: (message: string) => void },
): DataLoader<Info> {
  const keys = splitKeys(cfg.dataset, split);
  const { batch_size, num_workers, num_samples, return_info: _, ...datasetKeys } = keys;
  const batchSize = integer(`dataset.${split}.batch_size`, batch_size, 1);
  const { cache } = options;
  const cached = cache?.splits.includes(split) ?? false;
  // reading codes takes less than handing them from thread to thread
  const numWorkers = cached ? 0 : workers(integer("dataset.num_workers", num_workers ?? 0, 0));
  const worldSize = options.worldSize ?? 1;
  let numSamples = num_samples == null ? null : integer(`dataset.${split}.num_samples`, num_samples, 1);
  const { updates_per_epoch: updates, accumulate = 1 } = cfg.optim ?? {};
  if (keys.permutation_on_files && updates) numSamples = worldSize * batchSize * accumulate * updates;
  const datasetOptions = {
    ...readKeys(datasetKeys, options.type, split),
    numSamples,
    sampleRate: cfg.sample_rate,
    channels: cfg.channels,
    ...(cached && { cachePath: cache!.cachePath, phantomWav: cache!.phantomWav }),
  };
  const spec = {
    type: cached ? "tokens" : options.type,
    manifest: source,
    cwd: options.cwd ?? process.cwd(),
    mappers: options.mappers,
    options: datasetOptions,
  } as DatasetSpec;
  return new DataLoader<Info>(spec, {
    batchSize,
    numWorkers,
    shuffle: keys.shuffle === true,
    seed: cfg.seed,
    numSamples,
    rank: options.rank,
    worldSize,
    shards: split === "train" ? "even" : "disjoint",
    warn: options.warn,
  });
}

/** The keys of one split: those of `dataset`, overlaid by `dataset.<split>`. */
function splitKeys(dataset: Tree, split: Split): Tree {
  const shared = Object.entries(dataset).filter(([key]) => !SPLITS.includes(key as Split));
  return { ...Object.fromEntries(shared), ...(dataset[split] as Tree | null) };
}

const AUDIO_KEYS: Record<string, keyof AudioDatasetOptions> = {
  segment_duration: "segmentDuration",
  shuffle: "shuffle",
  pad: "pad",
  sample_on_duration: "sampleOnDuration",
  sample_on_weight: "sampleOnWeight",
  min_segment_ratio: "minSegmentRatio",
  max_read_retry: "maxReadRetry",
  min_audio_duration: "minAudioDuration",
  max_audio_duration: "maxAudioDuration",
  shuffle_seed: "shuffleSeed",
  permutation_on_files: "permutationOnFiles",
  load_wav: "loadWav",
};

const MUSIC_KEYS: Record<string, keyof MusicDatasetOptions> = {
  merge_text_p: "mergeTextP",
  drop_desc_p: "dropDescP",
  drop_other_p: "dropOtherP",
  joint_embed_attributes: "jointEmbedAttributes",
  paraphrase_source: "paraphraseSource",
  paraphrase_p: "paraphraseP",
};

const SOUND_KEYS: Record<string, keyof SoundDatasetOptions> = {
  aug_p: "augP",
  mix_p: "mixP",
  mix_snr_low: "mixSnrLow",
  mix_snr_high: "mixSnrHigh",
  mix_min_overlap: "mixMinOverlap",
  external_metadata_source: "externalMetadataSource",
};

const KEYS: Record<DatasetSpec["type"], Record<string, string>> = {
  audio: AUDIO_KEYS,
  music: { ...AUDIO_KEYS, ...MUSIC_KEYS },
  sound: { ...AUDIO_KEYS, ...SOUND_KEYS },
  tokens: { ...AUDIO_KEYS, ...MUSIC_KEYS },
};

function readKeys(keys: Tree, type: DatasetSpec["type"], split: Split): DatasetSpec["options"] {
  const known = KEYS[type];
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(keys)) {
    if (key in known) {
      if (value !== null || key === "segment_duration") options[known[key]] = value;
    } else if (value !== null && !(key in MUSIC_KEYS)) {
      throw new UserError(`dataset.${key} (split ${split}) is not supported for ${type} data sets`);
    }
  }
  return options as DatasetSpec["options"];
}

function integer(name: string, value: unknown, least: number): number {
  if (Number.isInteger(value) && (value as number) >= least) return value as number;
  throw new UserError(`${name} must be an integer of at least ${least}, but is ${JSON.stringify(value)}`);
}
