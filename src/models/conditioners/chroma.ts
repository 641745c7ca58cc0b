/** Melody by chroma: which pitch class sounds when, of a waveform (MusicGen-melody, arXiv 2306.05284). */
import { join } from "node:path";
import { convertChannels } from "../../data/audio/channels.ts";
import { readAudio } from "../../data/audio/read.ts";
import { resample } from "../../data/audio/resample.ts";
import type { WavBatch } from "../../data/conditioning.ts";
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { TorchGenerator } from "../../random/mt19937.ts";
import { tf } from "../../runtime/index.ts";
import { crossBias, type PreparedCondition, type PrepareOptions } from "./base.ts";
import { ChromaExtractor, type ChromaOptions } from "./chroma_extractor.ts";
import { type Embedding, EmbeddingCache, isFromTracks } from "./embedding_cache.ts";
import type { StemSeparator } from "./stems.ts";
import { lengthMask, rateOf, WaveformConditioner } from "./waveform.ts";

export interface ChromaStemOptions extends ChromaOptions {
  outputDim: number;
  /** Seconds of the training segments: `matchLength` brings chroma to the length of theirs. */
  duration: number;
  /** That length in frames, where it does not follow from the duration. */
  chromaLength?: number | null;
  /** Cut or repeat every chroma to the training length, and mask nothing (the key `match_len_on_eval`; it acts in training, too). */
  matchLength: boolean;
  /** Keep the chroma of whole tracks in `<cachePath>/wav`. */
  cachePath?: string | null;
  separator?: StemSeparator | null;
  seed?: number;
}

export class ChromaStemConditioner extends WaveformConditioner {
  /** Published melody models need it whatever they were trained with; so it can be set. */
  matchLength: boolean;
  private readonly sampleRate: number;
  private readonly chromaLength: number;
  private readonly extractor: ChromaExtractor;
  private readonly separator: StemSeparator | null;
  private readonly cache: EmbeddingCache | null;
  protected override readonly generator: TorchGenerator;
  /** Melodies of the loaded batch's waveforms; only with a separator. */
  private readonly melodies = new WeakMap<Float32Array, Float32Array>();
  /** Chroma that stand in for those of the samples outside training. */
  private evalChroma: Float32Array[] | null = null;

  constructor(options: ChromaStemOptions, init: InitializerStream) {
    const { nChroma, outputDim, sampleRate, radix2Exp, argmax, duration } = options;
    super(nChroma, outputDim, init);
    this.extractor = new ChromaExtractor(options);
    this.sampleRate = sampleRate;
    this.matchLength = options.matchLength;
    this.chromaLength = options.chromaLength ?? this.extractor.frames(Math.trunc(sampleRate * duration));
    this.separator = options.separator ?? null;
    this.generator = new TorchGenerator(options.seed ?? 1234);
    const { winlen = null, winhop = null, nfft = null, norm = Number.POSITIVE_INFINITY } = options;
    const stems = this.separator?.name ?? null;
    const settings = { sampleRate, nChroma, radix2Exp, argmax, winlen, winhop, nfft, norm: `${norm}`, stems };
    this.cache = options.cachePath
      ? new EmbeddingCache(join(options.cachePath, "wav"), settings, (path) => this.chromaOfTrack(path))
      : null;
  }

  override get notices(): string[] {
    return this.separator
      ? []
      : ["no model separates stems, so the melody is that of the whole mix, drums and bass included"];
  }

  /** Outside training, the samples' own waveforms are replaced by these (mono, at `sampleRate`), drawn at random; null: no more. */
  async useEvalWavs(wavs: readonly Float32Array[] | null): Promise<void> {
    this.evalChroma = null;
    if (wavs === null) return;
    if (wavs.length === 0) throw new UserError("eval_wavs: there are none");
    const chroma: Float32Array[] = [];
    for (const wav of wavs) chroma.push(this.extractor.extract(await this.melodyOf(wav)));
    this.evalChroma = chroma;
  }

  /** Runs `f` while the samples' own waveforms are not replaced. */
  async withoutEvalWavs<T>(f: () => Promise<T>): Promise<T> {
    const { evalChroma } = this;
    this.evalChroma = null;
    try {
      return await f();
    } finally {
      this.evalChroma = evalChroma;
    }
  }

  /** Chroma of whole tracks from the cache, or the melodies of the samples. */
  override async load(batch: WavBatch): Promise<void> {
    if (this.cache && isFromTracks(batch)) await this.cache.populate(batch.paths);
    else if (this.separator) {
      for (const [row, { wav }] of batch.conditions.entries()) {
        if (batch.lengths[row] > 0 && !this.melodies.has(wav)) {
          this.melodies.set(wav, await this.melodyOf(this.resampled(batch, row)));
        }
      }
    }
  }

  /** Chroma [B, frames, nChroma]. A null waveform is silence, as long as the others. */
  override prepare(batch: WavBatch, { training }: PrepareOptions): PreparedCondition {
    const rows = this.rows(batch, training);
    const { nChroma } = this.extractor;
    const own = Math.max(...rows.map((row) => row.length)) / nChroma;
    const frames = this.matchLength ? this.chromaLength : own;
    const chroma = new Float32Array(rows.length * frames * nChroma);
    for (const [i, row] of rows.entries()) {
      repeatInto(chroma.subarray(i * frames * nChroma, (i + 1) * frames * nChroma), row);
    }
    const mask = this.matchLength
      ? new Float32Array(rows.length * frames).fill(1)
      : lengthMask(batch, frames, this.sampleRate, this.extractor.hop);
    return {
      input: tf.tensor3d(chroma, [rows.length, frames, nChroma]),
      mask: tf.tensor2d(mask, [rows.length, frames]),
      crossBias: crossBias(frames),
    };
  }

  override dispose(): void {
    super.dispose();
    this.extractor.dispose();
  }

  /** The chroma of each row, all of one length. */
  private rows(batch: WavBatch, training: boolean): Float32Array[] {
    const { lengths, shape } = batch;
    const isNull = lengths.every((length) => length === 0);
    if (!training && this.evalChroma && !isNull) {
      const drawn = draw(this.evalChroma, lengths.length, this.generator);
      const frames = drawn[0].length / this.extractor.nChroma;
      return drawn.map((chroma, row) => (lengths[row] > 0 ? chroma : this.extractor.silence(frames)));
    }
    if (this.cache && isFromTracks(batch)) return lengths.map((_, row) => this.chromaOfChunk(batch, row));
    const frames = this.extractor.frames(this.samplesAtOwnRate(shape[2], batch.sampleRates[0]));
    return lengths.map((length, row) =>
      length > 0 ? this.extractor.extract(this.melody(batch, row)) : this.extractor.silence(frames),
    );
  }

  private melody(batch: WavBatch, row: number): Float32Array {
    if (!this.separator) return this.resampled(batch, row);
    const melody = this.melodies.get(batch.conditions[row].wav);
    if (melody) return melody;
    throw new Error("conditions whose stems are separated must be loaded before they are prepared");
  }

  private async melodyOf(wav: Float32Array): Promise<Float32Array> {
    return this.separator ? this.separator.melody(wav, this.sampleRate) : wav;
  }

  /** A row of the batch [T] at the extractor's rate. */
  private resampled(batch: WavBatch, row: number): Float32Array {
    const { wav, shape } = batch;
    const samples = shape[2];
    return resample([wav.subarray(row * samples, (row + 1) * samples)], rateOf(batch), this.sampleRate)[0];
  }

  private samplesAtOwnRate(samples: number, rate: number): number {
    return Math.floor((samples * this.sampleRate) / rate);
  }

  private async chromaOfTrack(path: string): Promise<Embedding> {
    const clip = await readAudio(path);
    const [mono] = resample(convertChannels(clip.samples, 1), clip.sampleRate, this.sampleRate);
    const values = this.extractor.extract(await this.melodyOf(mono));
    const dim = this.extractor.nChroma;
    return { values, length: values.length / dim, dim };
  }

  /** The frames of the track's chroma that belong to a row; zeros beyond the track's end. */
  private chromaOfChunk(batch: WavBatch, row: number): Float32Array {
    const { values, dim } = this.cache!.get(batch.paths[row]!);
    const seconds = batch.shape[2] / batch.sampleRates[row];
    const frameRate = this.sampleRate / this.extractor.hop;
    const first = Math.trunc(frameRate * batch.seekTimes[row]!);
    const chunk = new Float32Array(Math.trunc(frameRate * seconds) * dim);
    chunk.set(values.subarray(first * dim, first * dim + chunk.length));
    return chunk;
  }
}

/** Fills `out` with `row`, again and again. */
function repeatInto(out: Float32Array, row: Float32Array): void {
  for (let at = 0; at < out.length; at += row.length) out.set(row.subarray(0, out.length - at), at);
}

/** `count` items in random order; each comes again only when all have come. */
function draw<T>(items: readonly T[], count: number, generator: TorchGenerator): T[] {
  const pool = Array.from({ length: Math.ceil(count / items.length) }, () => items).flat();
  for (let i = 0; i < count; i++) {
    const j = i + generator.randint(pool.length - i);
    [pool[i], pool[j]] = [pool[j], pool[i]];
  }
  return pool.slice(0, count);
}
