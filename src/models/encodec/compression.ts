/** EnCodec as the codec of a language model: the model's methods, jitted. */
import { type Jitted, jit, runtimeOptions, type Tensor } from "../../runtime/index.ts";
import type { CompressionModel, EncodedAudio } from "../compression.ts";
import type { EncodecModel } from "./model.ts";

export class EncodecCompressionModel implements CompressionModel {
  readonly model: EncodecModel;
  private codebooks: number;
  private readonly jitEncode: Jitted<[Tensor, number], EncodedAudio>;
  private readonly jitDecode: Jitted<[Tensor, Tensor | null], Tensor>;
  private readonly jitDecodeLatent: Jitted<[Tensor], Tensor>;

  constructor(model: EncodecModel) {
    this.model = model;
    this.codebooks = model.totalCodebooks;
    // XLA has no kernel for the LSTM op.
    const mode = runtimeOptions().jit === "none" ? "none" : "graph";
    this.jitEncode = jit((wav: Tensor, codebooks: number) => model.encode(wav, codebooks), {
      name: "encodec_encode",
      mode,
    });
    this.jitDecode = jit((codes: Tensor, scale: Tensor | null) => model.decode(codes, scale), {
      name: "encodec_decode",
      mode,
    });
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

  encode(wav: Tensor): EncodedAudio {
    return this.jitEncode(wav, this.codebooks);
  }

  decode(codes: Tensor, scale: Tensor | null = null): Tensor {
    return this.jitDecode(codes, scale);
  }

  decodeLatent(codes: Tensor): Tensor {
    return this.jitDecodeLatent(codes);
  }
}
