/** Codes to audio piece by piece: samples come out as soon as no later code can change them. */
import { scoped, type Tensor, tf } from "../../runtime/index.ts";
import { codesTensor, type StreamingDecoder } from "../compression.ts";
import { Kept, type LayerStream, lengthOf } from "./layer.ts";
import type { EncodecNetwork } from "./model.ts";
import { OverlapAdd } from "./overlap_add.ts";

export interface DecoderOptions {
  batch: number;
  /** Codebooks of codes that come as an Int32Array. */
  codebooks: number;
  /** [B, 1], or [B, chunks] of a codec that codes in chunks. */
  scale: Tensor | null;
}

/** Runs the decoder's layers as streams. */
export class ContinuousDecoder implements StreamingDecoder {
  private readonly network: EncodecNetwork;
  private readonly options: DecoderOptions;
  private readonly stream: LayerStream;
  private readonly volumes: Float32Array | null;
  private done = false;

  constructor(network: EncodecNetwork, options: DecoderOptions) {
    this.network = network;
    this.options = options;
    this.stream = network.decoder.stream();
    this.volumes = options.scale === null ? null : (options.scale.dataSync() as Float32Array);
  }

  push(codes: Tensor | Int32Array): Float32Array[][] {
    return this.step(codes, false);
  }

  flush(): Float32Array[][] {
    const rest = this.step(null, true);
    this.dispose();
    return rest;
  }

  dispose(): void {
    if (!this.done) this.stream.dispose();
    this.done = true;
  }

  private step(codes: Tensor | Int32Array | null, last: boolean): Float32Array[][] {
    if (this.done) throw new Error("this streaming decoder has been flushed or disposed of");
    const { batch, codebooks } = this.options;
    return scoped(() => {
      const latents =
        codes === null ? null : this.network.quantizer.decode(codesTensor(codes, batch, codebooks));
      const wav = this.stream.push(latents, last);
      return rows(wav, batch, this.network.channels, this.volumes);
    });
  }
}

/** wav [B, n, C] or null -> per row, per channel the samples, times the row's volume. */
function rows(
  wav: Tensor | null,
  batch: number,
  channels: number,
  volumes: Float32Array | null,
): Float32Array[][] {
  const samples = wav === null ? 0 : lengthOf(wav);
  const values =
    wav === null ? new Float32Array(0) : (tf.transpose(wav, [0, 2, 1]).dataSync() as Float32Array);
  return Array.from({ length: batch }, (_, row) =>
    Array.from({ length: channels }, (_, channel) => {
      const start = (row * channels + channel) * samples;
      const part = values.slice(start, start + samples);
      return volumes === null ? part : part.map((sample) => sample * volumes[row]);
    }),
  );
}

/** Decodes whole chunks, each by itself, and fades from one to the next where they overlap. */
export class ChunkedDecoder implements StreamingDecoder {
  private readonly options: DecoderOptions;
  private readonly decode: (codes: Tensor, scale: Tensor | null) => Tensor;
  private readonly overlap: OverlapAdd;
  /** Frames of a whole chunk. */
  private readonly chunkFrames: number;
  /** Codes [B, K, n] of a chunk that is not whole yet. */
  private readonly waiting = new Kept();
  private readonly scale: Tensor | null;
  private chunks = 0;

  constructor(
    network: EncodecNetwork,
    decode: (codes: Tensor, scale: Tensor | null) => Tensor,
    options: DecoderOptions,
  ) {
    const { chunk } = network.options;
    this.options = options;
    this.decode = decode;
    this.scale = options.scale === null ? null : tf.keep(tf.clone(options.scale));
    this.overlap = new OverlapAdd(options.batch, network.channels, chunk!.stride);
    this.chunkFrames = Math.ceil(chunk!.length / network.hopLength);
  }

  push(codes: Tensor | Int32Array): Float32Array[][] {
    const { batch, codebooks } = this.options;
    return scoped(() => {
      const added = codesTensor(codes, batch, codebooks);
      const before = this.waiting.take();
      const whole = before === null ? added : tf.concat([before, added], 2);
      const [, , frames] = whole.shape;
      let at = 0;
      for (; at + this.chunkFrames <= frames; at += this.chunkFrames) this.add(whole, at, this.chunkFrames);
      this.waiting.set(at < frames ? tf.slice(whole, [0, 0, at], [-1, -1, frames - at]) : null);
      return this.overlap.take(false);
    });
  }

  flush(): Float32Array[][] {
    return scoped(() => {
      const rest = this.waiting.take();
      if (rest !== null) this.add(rest, 0, framesOf(rest));
      this.dispose();
      return this.overlap.take(true);
    });
  }

  dispose(): void {
    this.waiting.set(null);
    this.scale?.dispose();
  }

  private add(codes: Tensor, at: number, frames: number): void {
    const index = this.chunks++;
    const scale = this.scale === null ? null : tf.slice(this.scale, [0, index], [-1, 1]);
    const wav = this.decode(tf.slice(codes, [0, 0, at], [-1, -1, frames]), scale);
    this.overlap.add(wav.dataSync() as Float32Array, framesOf(wav));
  }
}

/** T of a tensor [B, K or C, T]. */
function framesOf(x: Tensor): number {
  const [, , frames] = x.shape;
  return frames;
}
