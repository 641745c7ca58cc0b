/** Segments of audio files, drawn at random: which file, where in it, at one rate and channel count, always as long. */
import { UserError } from "../errors.ts";
import { TorchGenerator } from "../random/mt19937.ts";
import { AudioReadError } from "./audio/audio.ts";
import { borrow, Scratch } from "./audio/scratch.ts";
import { type Batch, collate } from "./batch.ts";
import type { Codes } from "./cache/tokens.ts";
import { FileSampler } from "./file_sampler.ts";
import type { AudioMeta } from "./manifest.ts";
import { type ReadTimes, readSamples } from "./segment_samples.ts";

export interface AudioDatasetOptions {
  /** Seconds; null: items are whole files. */
  segmentDuration: number | null;
  /** Draw other segments in each epoch; false: item i is always the same segment. */
  shuffle: boolean;
  /** Length of the data set, unless items are whole files. null: one item per file. */
  numSamples: number | null;
  sampleRate: number;
  channels: number;
  /** Append silence to segments at the end of a file. */
  pad: boolean;
  sampleOnDuration: boolean;
  sampleOnWeight: boolean;
  /** Least part of a segment that must lie in the file. */
  minSegmentRatio: number;
  maxReadRetry: number;
  /** Files shorter or longer than this (seconds) are left out. */
  minAudioDuration: number | null;
  maxAudioDuration: number | null;
  shuffleSeed: number;
  /** Go through all files in random order before any comes again. */
  permutationOnFiles: boolean;
  /** false: segments are drawn and described, but their audio is silence and no file is opened. */
  loadWav: boolean;
}

/** AudioCraft's defaults. */
export const AUDIO_DATASET_DEFAULTS: AudioDatasetOptions = {
  segmentDuration: null,
  shuffle: true,
  numSamples: 10_000,
  sampleRate: 48_000,
  channels: 2,
  pad: true,
  sampleOnDuration: true,
  sampleOnWeight: true,
  minSegmentRatio: 0.5,
  maxReadRetry: 10,
  minAudioDuration: null,
  maxAudioDuration: null,
  shuffleSeed: 0,
  permutationOnFiles: false,
  loadWav: true,
};

/** Where a segment comes from. */
export interface SegmentInfo {
  meta: AudioMeta;
  /** Seconds into the file. */
  seekTime: number;
  /** Samples per channel before padding, at `sampleRate`. */
  nFrames: number;
  /** Samples per channel with padding. */
  totalFrames: number;
  sampleRate: number;
  channels: number;
}

/** One item: planar samples [C, T] in one array. */
export interface AudioItem<Info extends SegmentInfo = SegmentInfo> {
  wav: Float32Array<ArrayBuffer>;
  info: Info;
  /** What a codec makes of it, where a cache knows. */
  codes?: Codes;
}

/** A segment before it is described. */
export interface Segment extends Omit<AudioItem, "info"> {
  segment: SegmentInfo;
}

/** Called once for every file that cannot be used, with a message that names it. */
export type BrokenFileWarning = (message: string, path: string) => void;

/** Beyond the retries, so many more files are tried before the data set is given up. */
const LAST_RESORT_FILES = 1000;

export class AudioDataset<Info extends SegmentInfo = SegmentInfo> {
  readonly options: AudioDatasetOptions;
  readonly meta: AudioMeta[];
  /** How many reads failed and were replaced by another draw. */
  brokenReads = 0;
  readonly times: ReadTimes = { decode: 0, resample: 0 };
  protected readonly onWarning: BrokenFileWarning;
  private readonly sampler: FileSampler;
  protected readonly named = new Set<string>();

  /** Throws UserError if the filters leave no file, and for options that contradict each other. */
  constructor(
    meta: AudioMeta[],
    options: Partial<AudioDatasetOptions>,
    onWarning: BrokenFileWarning = () => {},
  ) {
    this.options = { ...AUDIO_DATASET_DEFAULTS, ...options };
    this.onWarning = onWarning;
    checkOptions(this.options);
    this.meta = this.filterDurations(meta);
    this.sampler = new FileSampler(this.meta, this.options);
  }

  get length(): number {
    const { segmentDuration, numSamples } = this.options;
    return segmentDuration === null ? this.meta.length : (numSamples ?? this.meta.length);
  }

  /**
   * Item `index` of an epoch: the same whenever and wherever it is asked for. A file that cannot be read is replaced by another
   * draw. Throws UserError when no file can be read.
   */
  async item(index: number, epoch = 0): Promise<AudioItem<Info>> {
    const { segmentDuration, shuffle, shuffleSeed } = this.options;
    const random = new TorchGenerator(shuffle ? index + this.length * (epoch + shuffleSeed) : index);
    const first = segmentDuration === null ? index : this.sampler.draw(random, index + this.length * epoch);
    let lastError: AudioReadError | undefined;
    for (const file of this.candidates(first, random)) {
      try {
        const { segment, ...item } = await this.readFile(this.meta[file], random);
        return { ...item, info: this.describe(segment, index, epoch) };
      } catch (error) {
        if (!(error instanceof AudioReadError)) throw error;
        lastError = error;
        this.reportBroken(error);
      }
    }
    throw new UserError(
      `none of the data set's ${this.meta.length} files that were tried could be read; the last: ${lastError?.message}`,
    );
  }

  /** The batch of these items. The same whenever it is asked for; data sets that combine items override it. */
  collate(items: AudioItem<Info>[], _indices: ArrayLike<number>, _epoch: number): Batch<Info> {
    return collate(items);
  }

  /**
   * What an item tells about its segment; data sets with more to tell override it. An AudioReadError thrown here makes another
   * file take the item's place.
   */
  protected describe(segment: SegmentInfo, _index: number, _epoch: number): Info {
    return segment as Info;
  }

  protected reportBroken(error: AudioReadError): void {
    this.brokenReads++;
    if (this.named.has(error.path)) return;
    this.named.add(error.path);
    this.onWarning(`${error.message}; another file takes its place`, error.path);
  }

  /** The drawn file, then further draws, then every other file in turn. */
  private *candidates(first: number, random: TorchGenerator): Generator<number> {
    yield first;
    for (let retry = 1; retry < this.options.maxReadRetry; retry++) yield this.sampler.redraw(random);
    const count = this.meta.length;
    for (let step = 1, tried = 0; step < count && tried < LAST_RESORT_FILES; step++) {
      const file = (first + step) % count;
      if (!this.sampler.mayDraw(file)) continue;
      tried++;
      yield file;
    }
  }

  /** A random segment of a file. Throws AudioReadError when it cannot be had. */
  protected async readFile(meta: AudioMeta, random: TorchGenerator): Promise<Segment> {
    const { segmentDuration, sampleRate, channels, pad } = this.options;
    const seekTime = this.drawSeekTime(meta, random);
    const scratch = new Scratch();
    try {
      const samples = this.options.loadWav
        ? await readSamples(meta, seekTime, this.options, scratch, this.times)
        : this.silence(meta, seekTime);
      const target = segmentDuration === null ? samples[0].length : Math.floor(segmentDuration * sampleRate);
      const totalFrames = segmentDuration !== null && pad ? target : Math.min(samples[0].length, target);
      const nFrames = Math.min(samples[0].length, totalFrames);
      const wav = borrow(channels * totalFrames);
      for (const [c, channel] of samples.entries()) {
        wav.set(channel.subarray(0, nFrames), c * totalFrames);
        wav.fill(0, c * totalFrames + nFrames, (c + 1) * totalFrames);
      }
      const segment: SegmentInfo = { meta, seekTime, nFrames, totalFrames, sampleRate, channels };
      return { wav, segment };
    } finally {
      scratch.release();
    }
  }

  /** Seconds at which a segment begins: at least minSegmentRatio of it lies in the file. */
  protected drawSeekTime({ duration }: AudioMeta, random: TorchGenerator): number {
    const { segmentDuration, minSegmentRatio } = this.options;
    if (segmentDuration === null) return 0;
    return random.rand() * Math.max(0, duration - segmentDuration * minSegmentRatio);
  }

  /** As many zeros as there would be samples. */
  private silence(meta: AudioMeta, seekTime: number): Float32Array[] {
    const { segmentDuration, sampleRate, channels } = this.options;
    const seconds = Math.min(segmentDuration ?? meta.duration, meta.duration - seekTime);
    const zeros = new Float32Array(Math.max(1, Math.floor(seconds * sampleRate)));
    return Array.from({ length: channels }, () => zeros);
  }

  private filterDurations(meta: AudioMeta[]): AudioMeta[] {
    const { minAudioDuration: min, maxAudioDuration: max } = this.options;
    const kept = meta.filter(
      ({ duration }) => (min === null || duration >= min) && (max === null || duration <= max),
    );
    const range = `durations from ${min ?? 0} to ${max ?? "any"} s`;
    if (kept.length === 0)
      throw new UserError(`the data set is empty: none of its ${meta.length} files has ${range}`);
    const removed = meta.length - kept.length;
    if (removed >= 0.1 * meta.length && removed > 0)
      this.onWarning(`${removed} of ${meta.length} files are left out: only ${range} are kept`, "");
    return kept;
  }
}

function checkOptions({
  minAudioDuration: min,
  maxAudioDuration: max,
  segmentDuration,
}: AudioDatasetOptions): void {
  if (min !== null && max !== null && min > max)
    throw new UserError(
      `dataset.min_audio_duration=${min} is above dataset.max_audio_duration=${max}: no file can be both`,
    );
  if (segmentDuration !== null && !(segmentDuration > 0))
    throw new UserError(
      `dataset.segment_duration=${segmentDuration} must be positive, or null for whole files`,
    );
}
