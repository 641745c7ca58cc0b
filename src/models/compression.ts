/** What a language model and a solver need of a codec: audio to discrete codes and back. */
import { UserError } from "../errors.ts";
import { type Tensor, tf } from "../runtime/index.ts";

/** Codes [B, K, T] int32 and, where the codec renormalizes, the volumes [B, 1] that decoding restores. */
export interface EncodedAudio {
  codes: Tensor;
  scale: Tensor | null;
}

/** A codec whose methods run jitted. The caller disposes of the tensors that they return. */
export interface CompressionModel {
  /** Samples per second. */
  readonly sampleRate: number;
  readonly channels: number;
  /** Frames per second. */
  readonly frameRate: number;
  /** Entries of a codebook. */
  readonly cardinality: number;
  /** Codebooks that `encode` uses. */
  readonly numCodebooks: number;
  /** Codebooks that it could use. */
  readonly totalCodebooks: number;
  /** Makes `encode` use the first `count` codebooks. @throws UserError when the codec has fewer */
  setNumCodebooks(count: number): void;
  /** wav [B, channels, T] -> codes [B, numCodebooks, T / sampleRate * frameRate, rounded up] and scale */
  encode(wav: Tensor): EncodedAudio;
  /** codes [B, K, T] of the first K codebooks -> wav [B, channels, samples of T frames] */
  decode(codes: Tensor, scale?: Tensor | null): Tensor;
  /** codes [B, K, T] -> latents [B, D, T], the vectors that the codes stand for */
  decodeLatent(codes: Tensor): Tensor;
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

  /** wav [B, 2, T] -> interleaved codes; scale [B, 2] */
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
      return { codes: interleaved, scale: scale === null ? null : scale.reshape([batch, 2]) } as never;
    }) as unknown as EncodedAudio;
  }

  /** interleaved codes, scale [B, 2] -> wav [B, 2, T] */
  decode(codes: Tensor, scale: Tensor | null = null): Tensor {
    return tf.tidy(() => {
      const sides = this.sides(codes);
      const wav = this.mono.decode(sides, scale === null ? null : scale.reshape([-1, 1]));
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
