/** A codec that is only loaded when it has something to do: training from a cache of tokens needs none in memory. */
import { type CodecIdentity, codecDifferences } from "../data/cache/header.ts";
import { UserError } from "../errors.ts";
import type { Tensor } from "../runtime/index.ts";
import type { CompressionModel, EncodedAudio, StreamingDecoder } from "./compression.ts";

/** What is known of it is there from the start; coding needs `load` first. */
export class LazyCompressionModel implements CompressionModel {
  private readonly known: CodecIdentity;
  private readonly build: () => Promise<CompressionModel>;
  private model: CompressionModel | null = null;

  constructor(known: CodecIdentity, build: () => Promise<CompressionModel>) {
    this.known = known;
    this.build = build;
  }

  get isLoaded(): boolean {
    return this.model !== null;
  }

  /** @throws UserError when it is not the codec that it was taken for */
  async load(): Promise<void> {
    if (this.model) return;
    const model = await this.build();
    const { sampleRate, channels, frameRate, cardinality, numCodebooks } = model;
    const differences = codecDifferences(this.known, {
      sha256: model.fingerprint(),
      sample_rate: sampleRate,
      channels,
      frame_rate: frameRate,
      card: cardinality,
      n_q: numCodebooks,
    });
    if (differences.length > 0)
      throw new UserError(
        `the cache of tokens was made with another codec than ${this.known.name} is now: ${differences.join("; ")}`,
      );
    this.model = model;
  }

  get sampleRate(): number {
    return this.known.sample_rate;
  }

  get channels(): number {
    return this.known.channels;
  }

  get frameRate(): number {
    return this.known.frame_rate;
  }

  get framesPerStep(): 1 | 2 {
    return this.known.stereo === "timesteps" ? 2 : 1;
  }

  get cardinality(): number {
    return this.known.card;
  }

  get numCodebooks(): number {
    return this.known.n_q;
  }

  get totalCodebooks(): number {
    return this.loaded.totalCodebooks;
  }

  setNumCodebooks(count: number): void {
    this.loaded.setNumCodebooks(count);
  }

  encode(wav: Tensor): EncodedAudio {
    return this.loaded.encode(wav);
  }

  decode(codes: Tensor, scale: Tensor | null = null): Tensor {
    return this.loaded.decode(codes, scale);
  }

  decodeLatent(codes: Tensor): Tensor {
    return this.loaded.decodeLatent(codes);
  }

  streamingDecoder(batch: number, scale: Tensor | null = null): StreamingDecoder {
    return this.loaded.streamingDecoder(batch, scale);
  }

  fingerprint(): string {
    return this.known.sha256;
  }

  dispose(): void {
    this.model?.dispose();
  }

  private get loaded(): CompressionModel {
    if (this.model) return this.model;
    throw new Error("the codec is used before it is loaded");
  }
}
