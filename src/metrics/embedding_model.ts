/** What audio is embedded with for the Fréchet distance: the project's own CLAP and MERT. (ONNX files: onnx_audio.ts) */
import type { Clap } from "../models/clap/model.ts";
import type { MertEncoder } from "../models/mert/encoder.ts";
import { type Jitted, jit, scoped, type Tensor, tf } from "../runtime/index.ts";
import { padded, pieces, windows } from "./metric.ts";

export interface EmbeddingModel {
  /** Samples per second of the audio that it takes. */
  readonly sampleRate: number;
  /** Mono samples -> a vector per frame or window */
  embed(wav: Float32Array): Promise<Float32Array[]>;
  dispose(): void;
}

/** Windows that are embedded at once. */
const BATCH = 8;

/** A vector for each window that CLAP hears at once, `stride` seconds apart. */
export class ClapEmbeddings implements EmbeddingModel {
  readonly sampleRate: number;
  private readonly clap: Clap;
  private readonly stride: number;

  constructor(clap: Clap, stride: number) {
    this.clap = clap;
    this.sampleRate = clap.logMel.options.sampleRate;
    this.stride = Math.max(1, Math.round(stride * this.sampleRate));
  }

  async embed(wav: Float32Array): Promise<Float32Array[]> {
    const heard = windows(wav, this.clap.logMel.options.maxSamples, this.stride);
    const found: Float32Array[] = [];
    for (let i = 0; i < heard.length; i += BATCH) {
      const some = this.clap.embedAudio(heard.slice(i, i + BATCH));
      found.push(...vectorsOf((await some.data()) as Float32Array, this.clap.dim));
      some.dispose();
    }
    return found;
  }

  dispose(): void {
    this.clap.dispose();
  }
}

/** Seconds that MERT hears at once. */
const MERT_WINDOW = 10;

/**
 * MERT's last hidden states, a vector per frame, of audio at mean 0 and variance 1 as its own feature extractor makes it.
 * Of what is left after whole windows, whole seconds are heard, so that the model is traced for few lengths.
 */
export class MertEmbeddings implements EmbeddingModel {
  readonly sampleRate: number;
  private readonly encoder: MertEncoder;
  private readonly encode: Jitted<[Tensor], Tensor>;

  constructor(encoder: MertEncoder) {
    this.encoder = encoder;
    this.sampleRate = encoder.config.sampleRate;
    this.encode = jit((wav: Tensor) => encoder.forward(wav), { name: "mert_embeddings" });
  }

  async embed(wav: Float32Array): Promise<Float32Array[]> {
    const second = this.sampleRate;
    const whole = padded(wav, second);
    const heard = standardized(whole.subarray(0, whole.length - (whole.length % second)));
    return pieces(heard, MERT_WINDOW * second).flatMap((piece) =>
      scoped(() => {
        const states = this.encode(tf.tensor2d(piece.slice(), [1, piece.length]));
        return vectorsOf(states.dataSync() as Float32Array, states.shape[2]!);
      }),
    );
  }

  dispose(): void {
    this.encode.dispose();
    this.encoder.dispose();
  }
}

/** At mean 0 and variance 1. */
function standardized(wav: Float32Array): Float32Array {
  const mean = wav.reduce((sum, x) => sum + x, 0) / wav.length;
  const variance = wav.reduce((sum, x) => sum + (x - mean) ** 2, 0) / wav.length;
  return wav.map((x) => (x - mean) / Math.sqrt(variance + 1e-7));
}

/** Values [..., dim] as vectors of that size. */
export function vectorsOf(values: Float32Array, dim: number): Float32Array[] {
  return Array.from({ length: values.length / dim }, (_, i) => values.slice(i * dim, (i + 1) * dim));
}
