/** EnCodec as the codec of a language model: the network's methods jitted, and long audio coded in pieces. */
import { UserError } from "../../errors.ts";
import { fingerprint } from "../../nn/index.ts";
import { isTracing, type Jitted, jit, scoped, type Tensor, tf } from "../../runtime/index.ts";
import type { CompressionModel, EncodedAudio, StreamingDecoder } from "../compression.ts";
import { withFolded } from "./folded.ts";
import { codecJitMode } from "./jit_mode.ts";
import type { EncodecNetwork } from "./model.ts";
import { ChunkedDecoder, ContinuousDecoder } from "./streaming_decoder.ts";

/** Audio of more seconds than this is coded in pieces, and so is a batch whose widest tensor has more values (128 MB). */
const wholeSeconds = 30;
const wholeValues = 1 << 25;

/** Values in the widest tensor of a piece: 16 MB. What passes from layer to layer is a few of them. */
const pieceValues = 1 << 22;

export class EncodecCompressionModel implements CompressionModel {
  readonly framesPerStep = 1;
  readonly model: EncodecNetwork;
  private codebooks: number;
  private readonly encodeWhole: (wav: Tensor, codebooks: number) => EncodedAudio;
  private readonly decodeWhole: (codes: Tensor, scale: Tensor | null) => Tensor;
  private readonly jitted: { dispose(): void }[];
  private readonly jitDecodeLatent: Jitted<[Tensor], Tensor>;

  constructor(model: EncodecNetwork) {
    this.model = model;
    this.codebooks = model.totalCodebooks;
    const mode = codecJitMode();
    const encode = jit((wav: Tensor, codebooks: number) => withFolded(() => model.encode(wav, codebooks)), {
      name: "encodec_encode",
      mode,
    });
    const decode = jit(
      (codes: Tensor, scale: Tensor | null) => withFolded(() => model.decode(codes, scale)),
      { name: "encodec_decode", mode },
    );
    this.jitted = [encode, decode];
    this.encodeWhole = folding(model, encode);
    this.decodeWhole = folding(model, decode);
    this.jitDecodeLatent = jit((codes: Tensor) => model.decodeLatent(codes), {
      name: "encodec_decode_latent",
      mode,
    });
  }

  get sampleRate(): number {
    return this.model.sampleRate;
  }

  get channels(): number {
    return this.model.channels;
  }

  get frameRate(): number {
    return this.model.frameRate;
  }

  get cardinality(): number {
    return this.model.cardinality;
  }

  get numCodebooks(): number {
    return this.codebooks;
  }

  get totalCodebooks(): number {
    return this.model.totalCodebooks;
  }

  setNumCodebooks(count: number): void {
    this.model.checkCodebooks(count);
    this.codebooks = count;
  }

  fingerprint(): string {
    return fingerprint(this.model);
  }

  /**
   * wav [B, channels, T] -> codes and scale. A codec that codes in chunks gives their codes in a row, [B, K, sum of frames],
   * and their volumes [B, chunks].
   */
  encode(wav: Tensor): EncodedAudio {
    if (this.model.options.chunk !== null) return this.encodeChunks(wav);
    const [batch, , samples] = wav.shape;
    return this.isLong(batch, samples) ? this.encodeLong(wav) : this.encodeWhole(wav, this.codebooks);
  }

  decode(codes: Tensor, scale: Tensor | null = null): Tensor {
    const [batch, codebooks, frames] = codes.shape;
    this.model.checkCodebooks(codebooks);
    const { chunk } = this.model.options;
    const isWhole = chunk === null && !this.isLong(batch, frames * this.model.hopLength);
    if (isWhole) return this.decodeWhole(codes, scale);
    const decoder = this.streamingDecoder(batch, scale);
    const size = chunk === null ? this.pieceFrames(batch) : Math.ceil(chunk.length / this.model.hopLength);
    const pieces: Float32Array[][][] = [];
    try {
      for (let at = 0; at < frames; at += size) {
        pieces.push(
          scoped(() => decoder.push(tf.slice(codes, [0, 0, at], [-1, -1, Math.min(size, frames - at)]))),
        );
      }
      pieces.push(decoder.flush());
    } finally {
      decoder.dispose();
    }
    return wavOf(pieces);
  }

  decodeLatent(codes: Tensor): Tensor {
    const [, codebooks] = codes.shape;
    this.model.checkCodebooks(codebooks);
    return this.jitDecodeLatent(codes);
  }

  streamingDecoder(batch: number, scale: Tensor | null = null): StreamingDecoder {
    const options = { batch, codebooks: this.codebooks, scale };
    if (this.model.options.chunk !== null) return new ChunkedDecoder(this.model, this.decodeWhole, options);
    this.model.fold();
    return withFolded(() => new ContinuousDecoder(this.model, options));
  }

  dispose(): void {
    for (const jitted of [...this.jitted, this.jitDecodeLatent]) jitted.dispose();
    this.model.dispose();
  }

  private isLong(batch: number, samples: number): boolean {
    return samples > wholeSeconds * this.sampleRate || batch * samples * this.width > wholeValues;
  }

  /** Channels at the full sample rate. */
  private get width(): number {
    const { encoder, decoder } = this.model.options;
    return Math.max(encoder.nFilters, decoder.nFilters);
  }

  /** Frames whose widest tensor has `pieceValues` values. */
  private pieceFrames(batch: number): number {
    return Math.max(1, Math.floor(pieceValues / (this.width * this.model.hopLength * batch)));
  }

  /** Runs the encoder's layers as streams. */
  private encodeLong(wav: Tensor): EncodedAudio {
    return tf.tidy(() => {
      const [batch, , samples] = wav.shape;
      const size = this.pieceFrames(batch) * this.model.hopLength;
      const volume = this.model.volume(wav);
      this.model.fold();
      const stream = withFolded(() => this.model.encoder.stream());
      const codes: Tensor[] = [];
      try {
        for (let at = 0; at < samples; at += size) {
          const last = at + size >= samples;
          const length = Math.min(size, samples - at);
          const piece = tf.tidy(() => {
            const part = tf.slice(wav, [0, 0, at], [-1, -1, length]);
            const latents = stream.push(this.model.normalized(part, volume), last);
            return (latents === null ? null : this.model.quantizer.encode(latents, this.codebooks)) as Tensor;
          });
          if (piece !== null) codes.push(piece);
        }
      } finally {
        stream.dispose();
      }
      return { codes: tf.concat(codes, 2), scale: volume?.reshape([-1, 1]) ?? null } as never;
    }) as unknown as EncodedAudio;
  }

  /**
   * Chunks begin every `stride` samples, as long as there is audio. All but the last are whole: where the last but one would
   * not be, zeros fill it.
   */
  private encodeChunks(wav: Tensor): EncodedAudio {
    const { length, stride } = this.model.options.chunk!;
    return tf.tidy(() => {
      const [, , samples] = wav.shape;
      if (samples === 0) throw new UserError("encode: there is no audio.");
      const count = Math.ceil(samples / stride);
      const missing = count < 2 ? 0 : Math.max(0, (count - 2) * stride + length - samples);
      const filled =
        missing === 0
          ? wav
          : tf.pad(wav, [
              [0, 0],
              [0, 0],
              [0, missing],
            ]);
      const encoded = Array.from({ length: count }, (_, i) => {
        const size = Math.min(length, samples + missing - i * stride);
        return this.encodeWhole(tf.slice(filled, [0, 0, i * stride], [-1, -1, size]), this.codebooks);
      });
      const scales = encoded.flatMap(({ scale }) => (scale === null ? [] : [scale]));
      return {
        codes: tf.concat(
          encoded.map(({ codes }) => codes),
          2,
        ),
        scale: scales.length === 0 ? null : tf.concat(scales, 1),
      } as never;
    }) as unknown as EncodedAudio;
  }
}

/** `run`, before which the weights are folded, unless it is traced as a part of something else. */
function folding<A extends unknown[], R>(model: EncodecNetwork, run: (...args: A) => R): (...args: A) => R {
  return (...args) => {
    if (!isTracing()) model.fold();
    return run(...args);
  };
}

/** Pieces of audio per row and channel -> wav [B, C, T] */
function wavOf(pieces: Float32Array[][][]): Tensor {
  const [batch, channels] = [pieces[0].length, pieces[0][0].length];
  const length = pieces.reduce((sum, piece) => sum + piece[0][0].length, 0);
  const values = new Float32Array(batch * channels * length);
  for (let row = 0; row < batch; row++) {
    for (let channel = 0; channel < channels; channel++) {
      let at = (row * channels + channel) * length;
      for (const piece of pieces) {
        values.set(piece[row][channel], at);
        at += piece[row][channel].length;
      }
    }
  }
  return tf.tensor(values, [batch, channels, length]);
}
