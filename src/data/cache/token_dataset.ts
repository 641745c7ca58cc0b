/** Music whose audio was turned into codes beforehand: random crops of whole files' codes, with the texts as MusicDataset makes them. */
import { UserError } from "../../errors.ts";
import type { TorchGenerator } from "../../random/mt19937.ts";
import { AudioReadError } from "../audio/audio.ts";
import type { AudioItem, BrokenFileWarning, Segment, SegmentInfo } from "../audio_dataset.ts";
import { type Batch, collate } from "../batch.ts";
import type { AudioMeta } from "../manifest.ts";
import { MusicDataset, type MusicDatasetOptions, type MusicInfo } from "../music_dataset.ts";
import { checkDuration } from "../segment_samples.ts";
import type { Sidecar } from "../sidecar.ts";
import { FileCodes } from "./file_codes.ts";
import { cropDifferences, readHeader } from "./header.ts";
import { DamagedRecordError } from "./shard.ts";

export interface TokenDatasetOptions extends MusicDatasetOptions {
  /** Folder of the cache. */
  cachePath: string;
  /** Items get a wave of NaN in the place of their audio, for conditioners that only look at how long it is; false: an empty one. */
  phantomWav: boolean;
}

/**
 * Draws the files and the places in them that MusicDataset draws from the same manifest, but crops begin at whole frames: up to
 * one frame earlier. A file that the cache lacks is treated like one that cannot be read.
 */
export class TokenDataset extends MusicDataset {
  private readonly cache: FileCodes;
  private readonly frameRate: number;
  private readonly phantomWav: boolean;
  private readonly sidecars = new WeakMap<SegmentInfo, Sidecar>();

  /** Throws UserError for a missing or damaged cache, and for one without any file of the manifest. */
  constructor(
    meta: AudioMeta[],
    options: Partial<TokenDatasetOptions>,
    onWarning: BrokenFileWarning = () => {},
  ) {
    super(meta, options, onWarning);
    const { cachePath = "" } = options;
    if (this.options.segmentDuration === null)
      throw new UserError(
        "cache.path: whole files (dataset.segment_duration=null) are not read from a cache of tokens",
      );
    const { codec, crops } = readHeader(cachePath);
    const { segmentDuration, minSegmentRatio } = this.options;
    const differences = cropDifferences(crops, {
      segment_duration: segmentDuration!,
      min_segment_ratio: minSegmentRatio,
    });
    if (differences.length > 0)
      throw new UserError(
        `the cache ${cachePath} is of no use here: ${differences[0]}; npm run cache with another cache.path`,
      );
    this.frameRate = codec.frame_rate;
    this.phantomWav = options.phantomWav ?? false;
    this.cache = new FileCodes(cachePath);
    const missing = this.meta.filter(({ path }) => !this.cache.files.has(path));
    if (missing.length === 0) return;
    const some = `${missing.length} of the data set's ${this.meta.length} files are not in the cache ${cachePath}`;
    const advice = "npm run cache with the same overrides adds what can be read";
    if (missing.length === this.meta.length) throw new UserError(`${some}: ${advice}`);
    onWarning(`${some} and are not used (the first: ${missing[0].path}); ${advice}`, "");
    for (const { path } of missing) this.named.add(path);
  }

  protected override async readFile(meta: AudioMeta, random: TorchGenerator): Promise<Segment> {
    const { segmentDuration, sampleRate, channels } = this.options;
    const totalFrames = Math.floor(segmentDuration! * sampleRate);
    const start = Math.floor(this.drawSeekTime(meta, random) * this.frameRate);
    const frames = Math.ceil((totalFrames / sampleRate) * this.frameRate - 1e-6);
    const file = this.cache.files.get(meta.path);
    if (!file) throw new AudioReadError(meta.path, "it is not in the cache of tokens");
    checkDuration(meta, file.duration);
    const first = Math.round((start / this.frameRate) * sampleRate);
    const nFrames = Math.min(totalFrames, file.samples - first);
    if (nFrames <= 0 || start + frames > file.frames)
      throw new AudioReadError(
        meta.path,
        `${file.frames} frames of it are in the cache, too few for frames ${start} to ${start + frames}`,
      );
    const { codes, info } = this.read(() => this.cache.read(file, start, frames), meta.path);
    const seekTime = start / this.frameRate;
    const segment: SegmentInfo = { meta, seekTime, nFrames, totalFrames, sampleRate, channels };
    this.sidecars.set(segment, info.sidecar ?? {});
    const wav = new Float32Array(this.phantomWav ? channels * totalFrames : 0).fill(Number.NaN);
    return { wav, codes, segment };
  }

  override collate(items: AudioItem<MusicInfo>[]): Batch<MusicInfo> {
    return withCodes(items, this.phantomWav);
  }

  protected override sidecarOf(segment: SegmentInfo): Sidecar {
    return this.sidecars.get(segment) ?? {};
  }

  /** A damaged record is one more file that cannot be read. */
  private read<T>(f: () => T, path: string): T {
    try {
      return f();
    } catch (error) {
      if (!(error instanceof DamagedRecordError)) throw error;
      throw new AudioReadError(path, error.message);
    }
  }
}

/** Items of one length with their codes; without waves, a batch has none: [B, C, 0]. */
export function withCodes(items: AudioItem<MusicInfo>[], phantomWav: boolean): Batch<MusicInfo> {
  const { codebooks, frames } = items[0].codes!;
  const values = new Int16Array(items.length * codebooks * frames);
  for (const [row, { codes }] of items.entries()) values.set(codes!.values, row * codebooks * frames);
  const codes = { values, shape: [items.length, codebooks, frames] as [number, number, number] };
  if (phantomWav) return { ...collate(items), codes };
  const infos = items.map(({ info }) => info);
  return { wav: new Float32Array(0), shape: [items.length, infos[0].channels, 0], infos, codes };
}
