/** What a language model and a solver need of a codec: audio to discrete codes and back. */
import { UserError } from "../errors.ts";
import { scoped, type Tensor, tf } from "../runtime/index.ts";

/**
 * Codes [B, K, T] int32 and, where the codec renormalizes, the volumes that decoding restores: [B, 1], or one per chunk where
 * it codes in chunks.
 */
export interface EncodedAudio {
  codes: Tensor;
  scale: Tensor | null;
}

/**
 * Decodes codes as they come. Audio is per row and channel; what was returned is final and not returned again. All of it put
 * together is what `decode` gives for all codes, to rounding.
 */
export interface StreamingDecoder {
  /** codes int32 [B, K, n], a tensor or its values (then K is the codec's numCodebooks) -> the samples that are final by now */
  push(codes: Tensor | Int32Array): Float32Array[][];
  /** The rest. Nothing can be pushed any more. */
  flush(): Float32Array[][];
  /** Frees the memory without flushing. */
  dispose(): void;
}

/** A codec whose methods run jitted. The caller disposes of the tensors that they return. */
export interface CompressionModel {
  /** Samples per second. */
  readonly sampleRate: number;
  readonly channels: number;
  /** Frames per second. */
  readonly frameRate: number;
  /** Frames that only decode together: 2 where the channels of stereo take turns, else 1. Counts of frames are multiples of it. */
  readonly framesPerStep: 1 | 2;
  /** Entries of a codebook. */
  readonly cardinality: number;
  /** Codebooks that `encode` uses. */
  readonly numCodebooks: number;
  /** Codebooks that it could use. */
  readonly totalCodebooks: number;
  /** Makes `encode` use the first `count` codebooks. @throws UserError when the codec has fewer */
  setNumCodebooks(count: number): void;
  /** wav [B, channels, T] -> codes [B, numCodebooks, T / sampleRate * frameRate, rounded up] and scale; long audio in pieces */
  encode(wav: Tensor): EncodedAudio;
  /** codes [B, K, T] of the first K codebooks -> wav [B, channels, samples of T frames] */
  decode(codes: Tensor, scale?: Tensor | null): Tensor;
  /** codes [B, K, T] -> latents [B, D, T], the vectors that the codes stand for */
  decodeLatent(codes: Tensor): Tensor;
  /** Decodes codes of `batch` clips as they come; `scale` as `encode` gave it. */
  streamingDecoder(batch: number, scale?: Tensor | null): StreamingDecoder;
  /** SHA-256 of the weights: what else codes depend on. */
  fingerprint(): string;
  /** Frees the weights; the codec cannot be used any more. */
  dispose(): void;
}

/** Codes [B, K, n] of `batch` clips, given as a tensor or as the values of one, as a tensor of the caller's scope. */
export function codesTensor(codes: Tensor | Int32Array, batch: number, codebooks: number): Tensor {
  if (!(codes instanceof Int32Array)) return codes;
  return tf.tensor(codes.slice(), [batch, codebooks, codes.length / (batch * codebooks)], "int32");
}

/** wav [B, C, T] -> per row, per channel its samples, the first `length` of them. */
export function samplesOf(wav: Tensor, length = Number.POSITIVE_INFINITY): Float32Array[][] {
  const [batch, channels, samples] = wav.shape;
  const values = wav.dataSync() as Float32Array;
  return Array.from({ length: batch }, (_, b) =>
    Array.from({ length: channels }, (_, c) => {
      const start = (b * channels + c) * samples;
      return values.slice(start, start + Math.min(samples, length));
    }),
  );
}

/**
 * Stereo on a mono codec: left and right are coded apart, and their codes interleaved, over codebooks (1L, 1R, 2L, 2R, …;
 * twice the codebooks) or over time steps (twice the frame rate).
 */
export class InterleaveStereoCompressionModel implements CompressionModel {
  readonly channels = 2;
  private readonly mono: CompressionModel;
  private readonly perTimestep: boolean;

  constructor(mono: CompressionModel, perTimestep = false) {
    if (mono.channels !== 1) {
      throw new UserError(
        `interleave_stereo_codebooks.use=true needs a mono codec; this one has ${mono.channels} channels.`,
      );
    }
    this.mono = mono;
    this.perTimestep = perTimestep;
  }

  get sampleRate(): number {
    return this.mono.sampleRate;
  }

  get frameRate(): number {
    return this.perTimestep ? 2 * this.mono.frameRate : this.mono.frameRate;
  }

  get framesPerStep(): 1 | 2 {
    return this.perTimestep ? 2 : 1;
  }

  get cardinality(): number {
    return this.mono.cardinality;
  }

  get numCodebooks(): number {
    return this.perTimestep ? this.mono.numCodebooks : 2 * this.mono.numCodebooks;
  }

  get totalCodebooks(): number {
    return this.perTimestep ? this.mono.totalCodebooks : 2 * this.mono.totalCodebooks;
  }

  /** Counts the codebooks of one channel, before interleaving. */
  setNumCodebooks(count: number): void {
    this.mono.setNumCodebooks(count);
  }

  fingerprint(): string {
    return this.mono.fingerprint();
  }

  dispose(): void {
    this.mono.dispose();
  }

  /** wav [B, 2, T] -> interleaved codes; scale [B, 2], a mono codec's chunks after another */
  encode(wav: Tensor): EncodedAudio {
    return tf.tidy(() => {
      const [batch, channels, samples] = wav.shape;
      if (channels !== 2)
        throw new Error(`encode: a stereo wave was expected, not one of ${channels} channels`);
      const { codes, scale } = this.mono.encode(wav.reshape([2 * batch, 1, samples]));
      const [, codebooks, frames] = codes.shape;
      const sides = codes.reshape([batch, 2, codebooks, frames]);
      const interleaved = this.perTimestep
        ? tf.transpose(sides, [0, 2, 3, 1]).reshape([batch, codebooks, 2 * frames])
        : tf.transpose(sides, [0, 2, 1, 3]).reshape([batch, 2 * codebooks, frames]);
      return { codes: interleaved, scale: scale === null ? null : scale.reshape([batch, -1]) } as never;
    }) as unknown as EncodedAudio;
  }

  /** interleaved codes, scale [B, 2] -> wav [B, 2, T] */
  decode(codes: Tensor, scale: Tensor | null = null): Tensor {
    return tf.tidy(() => {
      const sides = this.sides(codes);
      const wav = this.mono.decode(sides, scale === null ? null : scale.reshape([2 * codes.shape[0], -1]));
      return wav.reshape([codes.shape[0], 2, -1]);
    });
  }

  /** interleaved codes -> latents [B, 2 D, T] of left, then right */
  decodeLatent(codes: Tensor): Tensor {
    return tf.tidy(() => {
      const latents = this.mono.decodeLatent(this.sides(codes));
      const [, dimension, frames] = latents.shape;
      return latents.reshape([codes.shape[0], 2 * dimension, frames]);
    });
  }

  streamingDecoder(batch: number, scale: Tensor | null = null): StreamingDecoder {
    const sideScale = scale === null ? null : scale.reshape([2 * batch, -1]);
    const decoder = this.mono.streamingDecoder(2 * batch, sideScale);
    sideScale?.dispose();
    const stereo = (mono: Float32Array[][]) =>
      Array.from({ length: batch }, (_, row) => [mono[2 * row][0], mono[2 * row + 1][0]]);
    // of two interleaved time steps, the one whose other is still to come
    let odd: Tensor | null = null;
    const keep = (codes: Tensor | null) => {
      odd?.dispose();
      odd = codes === null ? null : tf.keep(tf.clone(codes));
    };
    return {
      push: (codes) =>
        scoped(() => {
          const given = codesTensor(codes, batch, this.numCodebooks);
          const all: Tensor = odd === null ? given : tf.concat([odd, given], 2);
          const [, , steps] = all.shape;
          const ready = this.perTimestep ? steps - (steps % 2) : steps;
          keep(ready < steps ? tf.slice(all, [0, 0, ready], [-1, -1, 1]) : null);
          if (ready === 0)
            return Array.from({ length: batch }, () => [new Float32Array(0), new Float32Array(0)]);
          return stereo(decoder.push(this.sides(tf.slice(all, [0, 0, 0], [-1, -1, ready]))));
        }),
      flush: () => {
        if (odd !== null) throw new Error("flush: the code of a right channel is missing");
        return stereo(decoder.flush());
      },
      dispose: () => {
        keep(null);
        decoder.dispose();
      },
    };
  }

  /** interleaved codes of B clips -> codes of 2 B mono clips */
  private sides(codes: Tensor): Tensor {
    const [batch, rows, columns] = codes.shape;
    if ((this.perTimestep ? columns : rows) % 2 !== 0) {
      throw new Error(`decode: codes of shape [${codes.shape}] are not two interleaved channels`);
    }
    if (this.perTimestep) {
      const split = codes.reshape([batch, rows, columns / 2, 2]);
      return tf.transpose(split, [0, 3, 1, 2]).reshape([2 * batch, rows, columns / 2]);
    }
    const split = codes.reshape([batch, rows / 2, 2, columns]);
    return tf.transpose(split, [0, 2, 1, 3]).reshape([2 * batch, rows / 2, columns]);
  }
}
