/** EnCodec (arXiv 2210.13438): waveform -> SEANet encoder -> residual vector quantizer -> codes, and back. */
import { UserError } from "../../errors.ts";
import { type InitializerStream, Module } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type { EncodedAudio } from "../compression.ts";
import { codebooksOf, type EncodecOptions } from "./config.ts";
import { ConvLayer } from "./conv.ts";
import { SpectralNormKernel } from "./conv_norm.ts";
import { ResidualVectorQuantizer } from "./quantizer.ts";
import { SEANetDecoder, SEANetEncoder } from "./seanet.ts";

export class EncodecNetwork extends Module {
  readonly encoder: SEANetEncoder;
  readonly quantizer: ResidualVectorQuantizer;
  readonly decoder: SEANetDecoder;
  readonly sampleRate: number;
  readonly channels: number;
  /** Frames per second. */
  readonly frameRate: number;
  /** Samples per frame. */
  readonly hopLength: number;
  /** What it was built from. */
  readonly options: EncodecOptions;

  constructor(options: EncodecOptions, init: InitializerStream) {
    super();
    this.encoder = new SEANetEncoder(options.encoder, init);
    this.decoder = new SEANetDecoder(options.decoder, init);
    this.quantizer = new ResidualVectorQuantizer(options.quantizer, init);
    this.sampleRate = options.sampleRate;
    this.channels = options.channels;
    this.hopLength = options.encoder.ratios.reduce((a, b) => a * b, 1);
    this.frameRate = options.frameRate;
    this.options = options;
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

  /**
   * Codebooks that a bandwidth in kbit/s pays for.
   * @throws UserError when the model's config lists other bandwidths, or the model has not so many codebooks
   */
  codebooksFor(bandwidth: number): number {
    const { bandwidths } = this.options;
    if (bandwidths !== null && !bandwidths.includes(bandwidth)) {
      throw new UserError(`bandwidth=${bandwidth} kbit/s: this codec has ${bandwidths.join(", ")}.`);
    }
    const count = codebooksOf(bandwidth, this.frameRate, Math.log2(this.cardinality));
    if (bandwidths !== null) return Math.min(Math.max(count, 1), this.totalCodebooks);
    this.checkCodebooks(count);
    return count;
  }

  /** kbit/s of so many codebooks. */
  bandwidthOf(codebooks: number): number {
    return (codebooks * Math.log2(this.cardinality) * this.frameRate) / 1000;
  }

  /** Brings the folded weights up to date, for `withFolded`. */
  fold(): void {
    for (const layer of partsOf(this, ConvLayer)) layer.fold();
  }

  override dispose(): void {
    super.dispose();
    for (const layer of partsOf(this, ConvLayer)) layer.unfold();
  }

  /** One power iteration of every spectral norm, due before each training forward. */
  iterateSpectralNorms(): void {
    for (const kernel of partsOf(this, SpectralNormKernel)) kernel.iterate();
  }

  /** wav [B, C, T] -> codes [B, codebooks, ceil(T / hopLength)] of the first `codebooks` codebooks, and scale */
  encode(wav: Tensor, codebooks: number = this.totalCodebooks): EncodedAudio {
    this.checkCodebooks(codebooks);
    const volume = this.volume(wav);
    const latents = this.encoder.forward(this.normalized(wav, volume));
    return { codes: this.quantizer.encode(latents, codebooks), scale: volume?.reshape([-1, 1]) ?? null };
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
    return swapTimeAndChannels(this.encoder.forward(this.normalized(wav, this.volume(wav))));
  }

  /** wav [B, C, T] -> what is left of it after encoding and decoding, of the same length */
  forward(wav: Tensor): Tensor {
    const { codes, scale } = this.encode(wav);
    return tf.slice(this.decode(codes, scale), [0, 0, 0], wav.shape);
  }

  /** The volume [B, 1, 1] that the model takes out where it does: 1e-8 + the root mean square of the mono mix. */
  volume(wav: Tensor): Tensor | null {
    if (wav.shape.length !== 3 || wav.shape[1] !== this.channels) {
      throw new UserError(`a wave of shape [B, ${this.channels}, T] was expected, not [${wav.shape}].`);
    }
    if (!this.options.renormalize) return null;
    const mono = tf.mean(wav, 1, true);
    return tf.add(tf.sqrt(tf.mean(tf.square(mono), 2, true)), 1e-8);
  }

  /** wav [B, C, T] -> what the encoder gets, [B, T, C] */
  normalized(wav: Tensor, volume: Tensor | null): Tensor {
    return swapTimeAndChannels(volume === null ? wav : tf.div(wav, volume));
  }
}

/** The modules of a class below a module. */
function partsOf<T extends Module>(part: unknown, kind: abstract new (...args: never[]) => T): T[] {
  const found = part instanceof kind ? [part] : [];
  if (!(part instanceof Module || Array.isArray(part))) return found;
  return [...found, ...Object.values(part).flatMap((below) => partsOf(below, kind))];
}

/** [B, a, b] -> [B, b, a] */
function swapTimeAndChannels(x: Tensor): Tensor {
  return tf.transpose(x, [0, 2, 1]);
}
