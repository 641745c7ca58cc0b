/** The caches that a run's config asks for (`cache.*`): what is read from them, what is written, and whether they fit. */
import type { MusicGenConfig } from "../config/schema.ts";
import {
  type CacheHeader,
  type CodecIdentity,
  codecDifferences,
  openHeader,
  readHeader,
} from "../data/cache/header.ts";
import { type StatesDtype, TextStatesCache } from "../data/cache/text_states.ts";
import { CachedUpdates, UpdateWriter } from "../data/cache/updates.ts";
import { UserError } from "../errors.ts";
import { buildCompressionModel } from "../models/builders.ts";
import type { CompressionModel } from "../models/compression.ts";
import type { ConditioningProvider } from "../models/conditioners/provider.ts";
import { T5Conditioner } from "../models/conditioners/t5.ts";
import { LazyCompressionModel } from "../models/lazy_codec.ts";

/** What can do without audio. */
const CACHED_SPLITS = ["train", "valid"] as const;
export type CachedSplit = (typeof CACHED_SPLITS)[number];

/** Throws a UserError for settings of `cache` that contradict each other or the rest of the config. */
export function checkCacheOptions(cfg: MusicGenConfig): void {
  const { path, write, write_shard: shard, write_num_shards: shards } = cfg.cache;
  const other = (cfg.cache.splits ?? []).find((split) => !CACHED_SPLITS.includes(split as CachedSplit));
  if (other !== undefined)
    throw new UserError(
      `cache.splits: "${other}" is none of ${CACHED_SPLITS.join(", ")}: other stages need the audio`,
    );
  if (path === null) {
    if (write) throw new UserError("cache.write=true needs cache.path, the folder to write to");
    return;
  }
  if (shard >= shards)
    throw new UserError(
      `cache.write_shard=${shard} must be below cache.write_num_shards=${shards}: shards count from 0`,
    );
  const joint = cfg.dataset.joint_embed_attributes ?? [];
  const sections = Object.entries(cfg.conditioners ?? {}) as [string, Record<string, unknown>][];
  const clap = sections.find(([, section]) => section.model === "clap");
  if (joint.length > 0 || clap)
    throw new UserError(
      `cache.path: joint embeddings (${clap ? `conditioners.${clap[0]}.model=clap` : "dataset.joint_embed_attributes"}) ` +
        "need the audio, which a cache of tokens does not have",
    );
  if (write) return;
  for (const [name, section] of sections) {
    const settings = (section[section.model as string] ?? {}) as Record<string, unknown>;
    if (section.model === "style")
      throw new UserError(
        `cache.path: conditioners.${name}.model=style needs the audio, which a cache of tokens does not have`,
      );
    if (section.model === "chroma_stem" && settings.cache_path == null)
      throw new UserError(
        `cache.path: conditioners.${name} needs the audio, which a cache of tokens does not have; ` +
          `with conditioners.${name}.chroma_stem.cache_path=FOLDER it keeps its own`,
      );
  }
}

/** Whether conditioners ask how long the audio is: those that have features of it from caches of their own. */
export function needsPhantomWav(cfg: MusicGenConfig): boolean {
  return Object.values(cfg.conditioners ?? {}).some(({ model }) => model === "chroma_stem");
}

/** What the config says of its codec, without loading it. */
function configuredIdentity(cfg: MusicGenConfig): Partial<CodecIdentity> {
  return {
    name: cfg.compression_model_checkpoint,
    n_q: cfg.transformer_lm.n_q,
    card: cfg.transformer_lm.card,
    sample_rate: cfg.sample_rate,
    channels: cfg.channels,
    stereo: stereoOf(cfg),
  };
}

function stereoOf({ interleave_stereo_codebooks: { use, per_timestep } }: MusicGenConfig): string {
  if (!use) return "none";
  return per_timestep ? "timesteps" : "codebooks";
}

/** What a cache remembers of the codec of its codes. */
export function codecIdentity(cfg: MusicGenConfig, codec: CompressionModel): CodecIdentity {
  return {
    name: cfg.compression_model_checkpoint,
    sha256: codec.fingerprint(),
    n_q: codec.numCodebooks,
    card: codec.cardinality,
    sample_rate: codec.sampleRate,
    channels: codec.channels,
    frame_rate: codec.frameRate,
    stereo: stereoOf(cfg),
  };
}

/** The header of the cache that a run reads; null when it reads none. @throws UserError when the cache is of another codec */
export function openedCache(cfg: MusicGenConfig): CacheHeader | null {
  const { path, write } = cfg.cache;
  if (path === null || write) return null;
  const header = readHeader(path);
  const { name: _, ...settings } = configuredIdentity(cfg);
  const differences = codecDifferences(header.codec, settings);
  if (differences.length > 0)
    throw new UserError(`cache.path=${path} does not fit this run: ${differences.join("; ")}`);
  return header;
}

/** The codec of a run: with a cache to read from, one that is loaded when it is first needed. */
export async function openCodec(cfg: MusicGenConfig, header: CacheHeader | null): Promise<CompressionModel> {
  if (!header) return await buildCompressionModel(cfg);
  const codec = new LazyCompressionModel(header.codec, () => buildCompressionModel(cfg));
  // under another name it may still be the same
  if (header.codec.name !== cfg.compression_model_checkpoint) await codec.load();
  return codec;
}

/** What `buildLoaders` needs of a cache of whole files. */
export function cachedSplits(cfg: MusicGenConfig, header: CacheHeader | null) {
  if (header?.kind !== "files") return undefined;
  return {
    cachePath: cfg.cache.path!,
    phantomWav: needsPhantomWav(cfg),
    splits: cfg.cache.splits ?? ["train"],
  };
}

/** The train batches of a cache of updates; undefined when the run has none. @throws UserError */
export function openCachedUpdates(
  cfg: MusicGenConfig,
  header: CacheHeader | null,
): CachedUpdates | undefined {
  if (header?.kind !== "updates" || cfg.execute_only !== null) return undefined;
  const { segment_duration, batch_size, train } = cfg.dataset;
  const seconds = train.segment_duration ?? segment_duration;
  if (seconds === null)
    throw new UserError(
      "cache.path: whole files (dataset.segment_duration=null) are not read from a cache of tokens",
    );
  const { updates_per_epoch: updates, accumulate = 1 } = cfg.optim;
  const keys = { ...cfg.dataset, ...train } as { paraphrase_source?: string | null; paraphrase_p?: number };
  return new CachedUpdates(cfg.cache.path!, {
    batchSize: train.batch_size ?? batch_size,
    length: updates === null ? null : updates * accumulate,
    frames: Math.ceil(seconds * header.codec.frame_rate - 1e-6),
    phantomWav: needsPhantomWav(cfg),
    paraphraseSource: keys.paraphrase_source,
    paraphraseP: keys.paraphrase_p,
  });
}

/** With `cache.write`, what takes the batches of the train stages. @throws UserError */
export async function openUpdateWriter(
  cfg: MusicGenConfig,
  codec: CompressionModel,
): Promise<UpdateWriter | null> {
  const { path, write, write_shard: shard } = cfg.cache;
  if (path === null || !write || cfg.execute_only !== null || cfg.show) return null;
  await openHeader(path, { format: 1, kind: "updates", codec: codecIdentity(cfg, codec) });
  return new UpdateWriter(path, shard);
}

/** With `cache.text_path`, gives the T5 conditioners their caches; returns them, to be closed. @throws UserError */
export function openTextCaches(
  cfg: MusicGenConfig,
  { conditioners }: ConditioningProvider,
): TextStatesCache[] {
  const { text_path: folder = null, text_dtype: dtype = "float32" } = cfg.cache;
  if (folder === null) return [];
  return Object.values(conditioners).flatMap((conditioner) =>
    conditioner instanceof T5Conditioner
      ? [conditioner.useCache((model) => new TextStatesCache(folder, model, dtype as StatesDtype))]
      : [],
  );
}
