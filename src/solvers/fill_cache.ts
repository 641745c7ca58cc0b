/** Fills a cache of tokens with the files of a config's data sets. */
import type { MusicGenConfig } from "../config/schema.ts";
import { codeFiles } from "../data/cache/code_files.ts";
import { openHeader } from "../data/cache/header.ts";
import { type AudioMeta, readManifest } from "../data/manifest.ts";
import { UserError } from "../errors.ts";
import { terminal } from "../log/live_line.ts";
import { createLogger } from "../log/logger.ts";
import { durationText } from "../log/progress.ts";
import { buildCompressionModel } from "../models/builders.ts";
import { scoped, type Tensor, tf } from "../runtime/index.ts";
import { makeExampleData } from "../train/experiment.ts";
import { loadEnvironment } from "../xp/environment.ts";
import { type CachedSplit, checkCacheOptions, codecIdentity } from "./token_cache.ts";

/** Codes what the cache lacks. Returns the exit code: 0, also when some files cannot be read. @throws UserError */
export async function fillCache(
  folder: string,
  cfg: MusicGenConfig,
  { workers }: { workers: number },
): Promise<number> {
  const log = createLogger({ name: "cache", level: cfg.logging.level });
  checkCacheOptions(cfg);
  await makeExampleData(cfg, log);
  const { rows, crops } = sources(cfg);
  log.info(`loading the codec ${cfg.compression_model_checkpoint}`);
  const codec = await buildCompressionModel(cfg);
  const { sampleRate, channels, frameRate, numCodebooks } = codec;
  const wanted = { format: 1, kind: "files", codec: codecIdentity(cfg, codec), crops } as const;
  const header = await openHeader(folder, wanted);
  const { segment_duration, min_segment_ratio } = header.crops!;
  const encode = (wav: Float32Array<ArrayBuffer>): Int32Array =>
    scoped(() => {
      const { codes, scale } = codec.encode(tf.tensor3d(wav, [1, channels, wav.length / channels]) as Tensor);
      if (scale !== null)
        throw new UserError(
          `${cfg.compression_model_checkpoint} renormalizes its audio: codes alone do not tell it`,
        );
      return codes.dataSync() as Int32Array;
    });
  const began = performance.now();
  const { write_shard: job, write_num_shards: jobs } = cfg.cache;
  const unreadable: string[] = [];
  const result = await codeFiles(folder, rows, {
    form: {
      sampleRate,
      channels,
      frameRate,
      segmentDuration: segment_duration,
      minSegmentRatio: min_segment_ratio,
    },
    encode,
    codebooks: numCodebooks,
    job,
    jobs,
    workers,
    onProgress: (done, total, seconds) => {
      const elapsed = (performance.now() - began) / 1000;
      const left = durationText((elapsed / done) * (total - done));
      terminal.update(`${done}/${total} files | ${(seconds / elapsed).toFixed(1)} s audio/s | ETA ${left}`);
      if (done % Math.max(1, Math.floor(total / 10)) === 0 && done < total)
        log.info(`${done} of ${total} files; about ${left} to go`);
    },
    onUnreadable: (path, reason) => unreadable.push(`${path}: ${reason}`),
    onCut: (bytes) => log.warn(`cut off ${bytes} bytes that an interrupted job left unfinished`),
  });
  terminal.clear();
  for (const line of unreadable) log.warn(`cannot be used: ${line}`);
  log.info(
    `${folder}: ${result.coded} files coded (${(result.seconds / 3600).toFixed(2)} h) in ` +
      `${durationText((performance.now() - began) / 1000)}, ${result.present} were there, ${result.unreadable} cannot be read`,
  );
  return 0;
}

/** The files of the splits that are cached, and which crops they must serve: the longest segments, and the most padding. */
function sources(cfg: MusicGenConfig): {
  rows: AudioMeta[];
  crops: { segment_duration: number; min_segment_ratio: number };
} {
  const rows = new Map<string, AudioMeta>();
  let segment = 0;
  let silence = 0;
  for (const split of cfg.cache.splits ?? ["train"]) {
    const name = split as CachedSplit;
    const source = cfg.datasource[name];
    if (source === null) throw new UserError(`cache.splits names ${split}, but datasource.${split} is null`);
    const keys = { ...cfg.dataset, ...cfg.dataset[name] };
    if (keys.segment_duration === null)
      throw new UserError(
        "cache.path: whole files (dataset.segment_duration=null) are not read from a cache of tokens",
      );
    segment = Math.max(segment, keys.segment_duration);
    silence = Math.max(silence, keys.segment_duration * (1 - keys.min_segment_ratio));
    for (const meta of readManifest(source, process.cwd(), loadEnvironment().datasetMappers))
      rows.set(meta.path, meta);
  }
  return {
    rows: [...rows.values()],
    crops: { segment_duration: segment, min_segment_ratio: 1 - silence / segment },
  };
}
