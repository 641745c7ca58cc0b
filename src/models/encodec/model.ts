/** EnCodec (arXiv 2210.13438): waveform -> SEANet encoder -> residual vector quantizer -> codes, and back. */
import { UserError } from "../../errors.ts";
import { type InitializerStream, Module } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type { EncodedAudio } from "../compression.ts";
import type { EncodecOptions } from "./config.ts";
import { ResidualVectorQuantizer } from "./quantizer.ts";
import { SEANetDecoder, SEANetEncoder } from "./seanet.ts";

export class EncodecModel extends Module {
  readonly encoder: SEANetEncoder;
  readonly quantizer: ResidualVectorQuantizer;
  readonly decoder: SEANetDecoder;
  readonly sampleRate: number;
  readonly channels: number;
  /** Frames per second. */
  readonly frameRate: number;
  /** Samples per frame. */
  readonly hopLength: number;
  private readonly renormalize: boolean;

  constructor(options: EncodecOptions, init: InitializerStream) {
    super();
    this.encoder = new SEANetEncoder(options.encoder, init);
    this.decoder = new SEANetDecoder(options.decoder, init);
    this.quantizer = new ResidualVectorQuantizer(options.quantizer, init);
    this.sampleRate = options.sampleRate;
    this.channels = options.channels;
    this.hopLength = options.encoder.ratios.reduce((a, b) => a * b, 1);
    this.frameRate = options.frameRate;
    this.renormalize = options.renormalize;
  }

  /** Entries of a codebook. */
  get cardinality(): number {
    return this.quantizer.bins;
  }

  get totalCodebooks(): number {
    return this.quantizer.codebooks.length;
  }

  /** Throws a UserError unless the model has `count` codebooks. */
  checkCodebooks(count: number): void {
    if (!Number.isInteger(count) || count < 1 || count > this.totalCodebooks) {
      throw new UserError(`${count} codebooks were asked for, but the codec has ${this.totalCodebooks}.`);
    }
  }

  /** wav [B, C, T] -> codes [B, codebooks, ceil(T / hopLength)] of the first `codebooks` codebooks, and scale */
  encode(wav: Tensor, codebooks: number = this.totalCodebooks): EncodedAudio {
    this.checkCodebooks(codebooks);
    const { normal, scale } = this.normalize(wav);
    return { codes: this.quantizer.encode(this.encoder.forward(normal), codebooks), scale };
  }

  /** codes [B, K, T] of the first K codebooks -> wav [B, C, T * hopLength] */
  decode(codes: Tensor, scale: Tensor | null = null): Tensor {
    const wav = swapTimeAndChannels(this.decoder.forward(this.quantizer.decode(codes)));
    return scale === null ? wav : tf.mul(wav, scale.reshape([-1, 1, 1]));
  }

  /** codes [B, K, T] -> latents [B, D, T], the vectors that the codes stand for */
  decodeLatent(codes: Tensor): Tensor {
    return swapTimeAndChannels(this.quantizer.decode(codes));
  }

  /** wav [B, C, T] -> latents [B, D, ceil(T / hopLength)] before quantization */
  encodeLatent(wav: Tensor): Tensor {
    return swapTimeAndChannels(this.encoder.forward(this.normalize(wav).normal));
  }

  /** wav [B, C, T] -> what is left of it after encoding and decoding, of the same length */
  forward(wav: Tensor): Tensor {
    const { codes, scale } = this.encode(wav);
    return tf.slice(this.decode(codes, scale), [0, 0, 0], wav.shape);
  }

  /** [B, T, C] of volume 1 where the model asks for it: scale = 1e-8 + the root mean square of the mono mix. */
  private normalize(wav: Tensor): { normal: Tensor; scale: Tensor | null } {
    if (wav.shape.length !== 3 || wav.shape[1] !== this.channels) {
      throw new Error(`a wave of shape [B, ${this.channels}, T] was expected, not [${wav.shape}]`);
    }
    if (!this.renormalize) return { normal: swapTimeAndChannels(wav), scale: null };
    const mono = tf.mean(wav, 1, true);
    const volume = tf.add(tf.sqrt(tf.mean(tf.square(mono), 2, true)), 1e-8);
    return { normal: swapTimeAndChannels(tf.div(wav, volume)), scale: volume.reshape([-1, 1]) };
  }
}

/** [B, a, b] -> [B, b, a] */
function swapTimeAndChannels(x: Tensor): Tensor {
  return tf.transpose(x, [0, 2, 1]);
}
