/** Segments of audio files, drawn at random: which file, where in it, at one rate and channel count, always as long. */
import { UserError } from "../errors.ts";
import { TorchGenerator } from "../random/mt19937.ts";
import { type AudioClip, AudioReadError } from "./audio/audio.ts";
import { convertChannels } from "./audio/channels.ts";
import { openAudio, readSegment } from "./audio/read.ts";
import { resample } from "./audio/resample.ts";
import { FileSampler } from "./file_sampler.ts";
import type { AudioMeta } from "./manifest.ts";

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
}

/** Called once for every file that cannot be used, with a message that names it. */
export type BrokenFileWarning = (message: string, path: string) => void;

/** Beyond the retries, so many more files are tried before the data set is given up. */
const LAST_RESORT_FILES = 1000;
/** Manifests may be this much (relative and in seconds) above a file's true duration: some formats only allow estimates. */
const DURATION_TOLERANCE = { ratio: 0.02, seconds: 0.2 };

export class AudioDataset<Info extends SegmentInfo = SegmentInfo> {
  readonly options: AudioDatasetOptions;
  readonly meta: AudioMeta[];
  /** How many reads failed and were replaced by another draw. */
  brokenReads = 0;
  protected readonly onWarning: BrokenFileWarning;
  private readonly sampler: FileSampler;
  private readonly named = new Set<string>();

  /** Throws UserError if the filters leave no file. */
  constructor(
    meta: AudioMeta[],
    options: Partial<AudioDatasetOptions>,
    onWarning: BrokenFileWarning = () => {},
  ) {
    this.options = { ...AUDIO_DATASET_DEFAULTS, ...options };
    this.onWarning = onWarning;
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
        const { wav, segment } = await this.readFile(file, random);
        return { wav, info: this.describe(segment, index, epoch) };
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

  /** What an item tells about its segment; data sets with more to tell override it. */
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

  private async readFile(file: number, random: TorchGenerator) {
    const meta = this.meta[file];
    const { segmentDuration, minSegmentRatio, sampleRate, channels, pad } = this.options;
    let seekTime = 0;
    if (segmentDuration !== null)
      seekTime = random.rand() * Math.max(0, meta.duration - segmentDuration * minSegmentRatio);
    const clip = await this.readSegment(meta, seekTime);
    const samples = this.convert(meta.path, clip);
    const target = segmentDuration === null ? samples[0].length : Math.floor(segmentDuration * sampleRate);
    const totalFrames = segmentDuration !== null && pad ? target : Math.min(samples[0].length, target);
    const wav = new Float32Array(channels * totalFrames);
    for (const [c, channel] of samples.entries()) wav.set(channel.subarray(0, totalFrames), c * totalFrames);
    const nFrames = Math.min(samples[0].length, totalFrames);
    const segment: SegmentInfo = { meta, seekTime, nFrames, totalFrames, sampleRate, channels };
    return { wav, segment };
  }

  private async readSegment(meta: AudioMeta, seekTime: number): Promise<AudioClip> {
    const { segmentDuration } = this.options;
    const file = await openAudio(meta.path);
    try {
      // A manifest that promises more than there is would fill segments with silence.
      const { duration } = file.info;
      if (
        meta.duration - duration >
        Math.max(DURATION_TOLERANCE.seconds, DURATION_TOLERANCE.ratio * meta.duration)
      )
        throw new AudioReadError(
          meta.path,
          `the manifest says ${meta.duration} s, the file holds ${duration.toFixed(3)} s`,
        );
      return await readSegment(file, { start: seekTime, duration: segmentDuration ?? undefined });
    } finally {
      file.close();
    }
  }

  private convert(path: string, clip: AudioClip): Float32Array[] {
    const { sampleRate, channels } = this.options;
    if (clip.samples[0].length === 0) throw new AudioReadError(path, "the segment holds no audio");
    try {
      return resample(convertChannels(clip.samples, channels), clip.sampleRate, sampleRate);
    } catch (error) {
      throw new AudioReadError(path, (error as Error).message);
    }
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
