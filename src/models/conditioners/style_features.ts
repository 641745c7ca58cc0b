/** What a style conditioner listens with: a frozen MERT, or the codes of a frozen EnCodec. */
import { UserError } from "../../errors.ts";
import { Embedding, type InitializerStream, Linear } from "../../nn/index.ts";
import { type Jitted, jit, type Tensor, tf } from "../../runtime/index.ts";
import type { CompressionModel } from "../compression.ts";
import { mertFrames } from "../mert/config.ts";
import type { MertEncoder } from "../mert/encoder.ts";

/** Runs on whole excerpts, outside of the step; the trained `embed` of its features is in the step. */
export interface StyleFeatures {
  /** Samples per second of the audio that it takes. */
  readonly sampleRate: number;
  /** Frames per second. */
  readonly frameRate: number;
  /** wav [B, T] -> features [B, frames, …] */
  extract(wav: Tensor): Tensor;
  /** The layers that turn features into vectors, as a field of the conditioner, for their names. */
  makeEmbed(dim: number, init: InitializerStream): StyleEmbed;
  /** features [B, frames, …] -> [B, frames, dim] */
  embed(features: Tensor, layers: StyleEmbed): Tensor;
  dispose(): void;
}

export type StyleEmbed = Linear | Embedding[];

/** MERT's frames at its nominal rate: its convolutions leave out the last one. */
export class MertFeatures implements StyleFeatures {
  readonly sampleRate: number;
  readonly frameRate: number;
  private readonly encoder: MertEncoder;
  private readonly encode: Jitted<[Tensor], Tensor>;

  constructor(encoder: MertEncoder) {
    const { config } = encoder;
    this.encoder = encoder;
    this.sampleRate = config.sampleRate;
    this.frameRate = config.sampleRate / config.convolutions.reduce((hop, { stride }) => hop * stride, 1);
    this.encode = jit((wav: Tensor) => encoder.forward(wav), { name: "mert" });
  }

  extract(wav: Tensor): Tensor {
    const samples = wav.shape[1]!;
    if (mertFrames(this.encoder.config, samples) === 0) {
      throw new UserError(`style conditioning: ${samples} samples are too short to be listened to`);
    }
    return this.encode(wav);
  }

  makeEmbed(dim: number, init: InitializerStream): Linear {
    return new Linear(this.encoder.config.hiddenSize, dim, init);
  }

  embed(features: Tensor, layer: StyleEmbed): Tensor {
    return (layer as Linear).forward(features);
  }

  dispose(): void {
    this.encode.dispose();
    this.encoder.dispose();
  }
}

/** Codes int32 [B, frames, K] of a codec's first K codebooks. */
export class EncodecFeatures implements StyleFeatures {
  private readonly codec: CompressionModel;
  private codebooks: number;

  /** @throws UserError when the codec has fewer codebooks, or takes stereo */
  constructor(codec: CompressionModel, codebooks: number) {
    if (codec.channels !== 1) {
      throw new UserError(
        `style.encodec_checkpoint: a mono codec is needed, this has ${codec.channels} channels`,
      );
    }
    codec.setNumCodebooks(codebooks);
    this.codec = codec;
    this.codebooks = codebooks;
  }

  get sampleRate(): number {
    return this.codec.sampleRate;
  }

  get frameRate(): number {
    return this.codec.frameRate;
  }

  /** Listens to fewer codebooks than it was made for. */
  limitCodebooks(count: number): void {
    this.codec.setNumCodebooks(count);
    this.codebooks = count;
  }

  extract(wav: Tensor): Tensor {
    return tf.tidy(() => {
      const { codes } = this.codec.encode(wav.expandDims(1) as Tensor);
      return tf.transpose(codes, [0, 2, 1]);
    });
  }

  makeEmbed(dim: number, init: InitializerStream): Embedding[] {
    const { cardinality } = this.codec;
    return Array.from(
      { length: this.codebooks },
      () => new Embedding(cardinality, dim, init.standardNormal()), // PyTorch's default
    );
  }

  embed(codes: Tensor, tables: StyleEmbed): Tensor {
    return tf
      .unstack(codes, 2)
      .map((indices, k) => (tables as Embedding[])[k].forward(indices))
      .reduce((sum, vectors) => tf.add(sum, vectors));
  }

  dispose(): void {
    this.codec.dispose();
  }
}
