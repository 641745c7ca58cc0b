/** EnCodec for programs: arrays of samples in and out. */
import type { HubOptions } from "../../checkpoint/hub.ts";
import { UserError } from "../../errors.ts";
import { scoped, type Tensor, tf } from "../../runtime/index.ts";
import { type StreamingDecoder, samplesOf } from "../compression.ts";
import type { EncodecCompressionModel } from "./compression.ts";
import { loadCompressionModel } from "./load.ts";

/** Audio of a batch: per clip, per channel, samples at the model's rate; all clips of one length. */
export type AudioBatch = Float32Array[][];

export interface EncodeOptions {
  /** kbit/s: as many codebooks as that pays for. */
  bandwidth?: number;
  /** Instead of a bandwidth. Without either: all codebooks. */
  numCodebooks?: number;
  /** Per clip, how many samples are real: what comes after them is coded as silence. */
  lengths?: number[];
}

export interface EncodedBatch {
  /** int32 [batch, codebooks, frames]; of a model that codes in chunks, the chunks' frames one after the other. */
  codes: Int32Array;
  shape: [batch: number, codebooks: number, frames: number];
  /** Volumes of a model that normalises, per clip, per chunk (one where it does not code in chunks); else null. */
  scales: number[][] | null;
  /** Samples of the audio: decoding cuts to them what it gives beyond. */
  length?: number;
}

export class EncodecModel {
  /** The same model on tensors. */
  readonly codec: EncodecCompressionModel;

  private constructor(codec: EncodecCompressionModel) {
    this.codec = codec;
  }

  /**
   * Loads a model: a Hugging Face repository (`facebook/encodec_24khz`, `_32khz`, `_48khz`), a folder of that layout, AudioCraft's
   * `compression_state_dict.bin` or `checkpoint.th`, a safetensors file of ours, `//embedded/encodec_tiny_16khz`, `//sig/<signature>`.
   * @throws UserError when it can't be found, read or built
   */
  static async fromPretrained(idOrPath: string, options: HubOptions = {}): Promise<EncodecModel> {
    return new EncodecModel(await loadCompressionModel(idOrPath, options));
  }

  /** Samples per second. */
  get sampleRate(): number {
    return this.codec.sampleRate;
  }

  get channels(): number {
    return this.codec.channels;
  }

  /** Frames per second. */
  get frameRate(): number {
    return this.codec.frameRate;
  }

  /** Samples per frame. */
  get hopLength(): number {
    return this.codec.model.hopLength;
  }

  /** Codebooks that there are. */
  get totalCodebooks(): number {
    return this.codec.totalCodebooks;
  }

  /** Entries of a codebook. */
  get cardinality(): number {
    return this.codec.cardinality;
  }

  /** Bandwidths in kbit/s that can be asked for; null: that of any number of codebooks. */
  get bandwidths(): number[] | null {
    return this.codec.model.options.bandwidths;
  }

  /**
   * Audio to codes. Long audio is coded in pieces, in the memory of one.
   * @throws UserError for audio of other channels, a bandwidth that the model does not have, more codebooks than there are
   */
  encode(audio: AudioBatch, options: EncodeOptions = {}): EncodedBatch {
    const { bandwidth, numCodebooks, lengths } = options;
    const count =
      numCodebooks ??
      (bandwidth === undefined ? this.totalCodebooks : this.codec.model.codebooksFor(bandwidth));
    return this.withCodebooks(count, () =>
      scoped(() => {
        const wav = waveOf(audio, this.channels, lengths);
        const { codes, scale } = this.codec.encode(wav);
        return {
          codes: codes.dataSync() as Int32Array,
          shape: codes.shape as EncodedBatch["shape"],
          scales: scale === null ? null : (scale.arraySync() as number[][]),
          length: audio[0][0].length,
        };
      }),
    );
  }

  /** Codes to audio: of all codebooks, or the first ones. */
  decode({ codes, shape, scales, length }: EncodedBatch): AudioBatch {
    return scoped(() => {
      const wav = this.codec.decode(
        tf.tensor(codes.slice(), shape, "int32"),
        scales === null ? null : tf.tensor2d(scales),
      );
      return samplesOf(wav, length);
    });
  }

  /**
   * Decodes codes of `batch` clips, of `numCodebooks` codebooks (default: all), as they come; what it gives is final. `scales` as
   * `encode` gives them. @throws UserError when there are fewer codebooks
   */
  streamingDecoder(
    batch: number,
    scales: number[][] | null = null,
    numCodebooks: number = this.totalCodebooks,
  ): StreamingDecoder {
    return this.withCodebooks(numCodebooks, () =>
      scoped(() => this.codec.streamingDecoder(batch, scales === null ? null : tf.tensor2d(scales))),
    );
  }

  /** Frees the weights. */
  dispose(): void {
    this.codec.dispose();
  }

  private withCodebooks<T>(count: number, f: () => T): T {
    const before = this.codec.numCodebooks;
    this.codec.setNumCodebooks(count);
    try {
      return f();
    } finally {
      this.codec.setNumCodebooks(before);
    }
  }
}

/** wav [B, C, T], silent beyond each clip's length */
function waveOf(audio: AudioBatch, channels: number, lengths?: number[]): Tensor {
  const samples = audio[0]?.[0]?.length ?? 0;
  if (samples === 0) throw new UserError("encode: there is no audio.");
  const values = new Float32Array(audio.length * channels * samples);
  for (const [b, clip] of audio.entries()) {
    if (clip.length !== channels) {
      throw new UserError(`encode: clip ${b} has ${clip.length} channels, the codec ${channels}.`);
    }
    for (const [c, line] of clip.entries()) {
      if (line.length !== samples) {
        throw new UserError(
          `encode: channel ${c} of clip ${b} has ${line.length} samples, the first ${samples}: fill up, and say so in lengths.`,
        );
      }
      values.set(line.subarray(0, lengths?.[b] ?? samples), (b * channels + c) * samples);
    }
  }
  return tf.tensor3d(values, [audio.length, channels, samples]);
}
