/** Joint embeddings by CLAP (MusicGen's CLAP-conditioned variant, arXiv 2306.05284). */
import { join } from "node:path";
import { convertChannels } from "../../data/audio/channels.ts";
import { readAudio } from "../../data/audio/read.ts";
import { resample } from "../../data/audio/resample.ts";
import type { JointEmbedBatch } from "../../data/conditioning.ts";
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { type Clap, unit } from "../clap/model.ts";
import { type Embedding, EmbeddingCache, isFromTracks } from "./embedding_cache.ts";
import { JointEmbeddingConditioner, type JointEmbeddingOptions } from "./joint_embedding.ts";

export interface ClapConditionerOptions extends Omit<JointEmbeddingOptions, "dim"> {
  clap: Clap;
  /** Name of the checkpoint: cached embeddings of another are refused. */
  checkpoint: string;
  /** Seconds that are heard at once, and from one such window to the next; a clip's embedding is the mean of its windows'. */
  maxAudioLength: number;
  audioStride: number;
  /** Whether embeddings are brought to length 1, which a mean is not. */
  normalize: boolean;
  /** Windows that are embedded at once. */
  batchSize: number;
  /** Keep the embeddings of whole tracks in `<cachePath>/wav` and those of texts in `<cachePath>/text`. */
  cachePath: string | null;
}

export class CLAPEmbeddingConditioner extends JointEmbeddingConditioner {
  /** Private to the class and so no part of the state dict: a checkpoint does not carry the frozen CLAP. */
  readonly #clap: Clap;
  private readonly settings: ClapConditionerOptions;
  private readonly wavCache: EmbeddingCache | null = null;
  private readonly textCache: EmbeddingCache | null = null;

  /** @throws UserError when the model does not hear as long as `maxAudioLength` at once */
  constructor(options: ClapConditionerOptions, init: InitializerStream) {
    super({ ...options, dim: options.clap.dim }, init);
    const { clap, checkpoint, maxAudioLength, audioStride, cachePath } = options;
    const { maxSamples, sampleRate } = clap.logMel.options;
    this.#clap = clap;
    this.settings = options;
    if (this.windowSamples > maxSamples) {
      throw new UserError(
        `clap.max_audio_length=${maxAudioLength}: ${checkpoint} hears ${maxSamples / sampleRate} s at once`,
      );
    }
    if (this.windowSamples < 1 || this.strideSamples < 1) {
      throw new UserError(`clap.max_audio_length and clap.audio_stride must be longer than a sample`);
    }
    if (cachePath !== null) {
      const windows = { checkpoint, sampleRate, maxAudioLength, audioStride };
      this.wavCache = new EmbeddingCache(join(cachePath, "wav"), windows, (path) =>
        this.embeddingsOfTrack(path),
      );
      this.textCache = new EmbeddingCache(join(cachePath, "text"), { checkpoint }, async (text) => ({
        ...(await rowsOf(this.#clap.embedText([text]))),
      }));
    }
  }

  /** Embeddings of whole tracks and of texts from the cache. */
  override async load(batch: JointEmbedBatch): Promise<void> {
    if (this.wavCache !== null && isFromTracks(batch)) await this.wavCache.populate(batch.paths);
    if (this.textCache !== null) await this.textCache.populate(batch.texts.map((text) => text ?? ""));
  }

  override dispose(): void {
    super.dispose();
    this.#clap.dispose();
  }

  protected override embedAudio(batch: JointEmbedBatch): Tensor {
    const [rows, , samples] = batch.shape;
    const embeddings = Array.from({ length: rows }, (_, row) => {
      if (this.wavCache !== null && isFromTracks(batch)) return this.chunkOfTrack(batch, row);
      const wav = batch.wav.subarray(row * samples, (row + 1) * samples);
      const [heard] = resample([wav], batch.sampleRates[row], this.sampleRate);
      return this.meanOf(this.windowEmbeddings(heard));
    });
    return this.finished(embeddings);
  }

  protected override embedText({ texts }: JointEmbedBatch): Tensor {
    const written = texts.map((text) => text ?? "");
    const { textCache } = this;
    if (textCache !== null) return this.finished(written.map((text) => textCache.get(text).values));
    return this.#clap.embedText(written);
  }

  private get sampleRate(): number {
    return this.#clap.logMel.options.sampleRate;
  }

  private get windowSamples(): number {
    return Math.trunc(this.sampleRate * this.settings.maxAudioLength);
  }

  private get strideSamples(): number {
    return Math.trunc(this.sampleRate * this.settings.audioStride);
  }

  /** Embeddings of the windows that lie in the clip, or of the clip if none does: values of [windows, dim]. */
  private windowEmbeddings(wav: Float32Array): Embedding {
    const { windowSamples: size, strideSamples: stride } = this;
    const count = Math.max(1, Math.floor((wav.length - size) / stride) + 1);
    const windows = Array.from({ length: count }, (_, i) => wav.subarray(i * stride, i * stride + size));
    const { dim } = this.#clap;
    const values = new Float32Array(count * dim);
    for (let i = 0; i < count; i += this.settings.batchSize) {
      const some = this.#clap.embedAudio(windows.slice(i, i + this.settings.batchSize));
      values.set(some.dataSync() as Float32Array, i * dim);
      some.dispose();
    }
    return { values, length: count, dim };
  }

  private async embeddingsOfTrack(path: string): Promise<Embedding> {
    const clip = await readAudio(path);
    return this.windowEmbeddings(
      resample(convertChannels(clip.samples, 1), clip.sampleRate, this.sampleRate)[0],
    );
  }

  /** The mean of the track's windows that begin within one window's length from the row's start on. */
  private chunkOfTrack(batch: JointEmbedBatch, row: number): Float32Array {
    const track = this.wavCache!.get(batch.paths[row]!);
    const stride = this.strideSamples / this.sampleRate;
    const start = Math.min(Math.floor(batch.seekTimes[row]! / stride), track.length - 1);
    const end = Math.floor((batch.seekTimes[row]! + this.settings.maxAudioLength) / stride);
    const length = Math.max(1, Math.min(end, track.length) - start);
    const values = track.values.subarray(start * track.dim, (start + length) * track.dim);
    return this.meanOf({ values, length, dim: track.dim });
  }

  private meanOf({ values, length, dim }: Embedding): Float32Array {
    const mean = new Float32Array(dim);
    for (let i = 0; i < values.length; i++) mean[i % dim] += values[i] / length;
    return mean;
  }

  /** Rows as a tensor [B, dim], at length 1 if so asked. */
  private finished(rows: readonly Float32Array[]): Tensor {
    const { dim } = this.#clap;
    const all = new Float32Array(rows.length * dim);
    for (const [i, row] of rows.entries()) all.set(row, i * dim);
    return tf.tidy(() => {
      const embeddings = tf.tensor2d(all, [rows.length, dim]);
      return this.settings.normalize ? unit(embeddings) : embeddings;
    });
  }
}

async function rowsOf(embeddings: Tensor): Promise<Embedding> {
  const [length, dim] = embeddings.shape;
  const values = (await embeddings.data()) as Float32Array;
  embeddings.dispose();
  return { values, length, dim };
}
