/** Text by a look-up table: each word has a trained vector. Nothing to download; the tiny default uses it. */
import { Embedding, type InitializerStream } from "../../nn/index.ts";
import {
  Conditioner,
  type ConditionTensors,
  type PreparedCondition,
  type PrepareOptions,
  padTokens,
} from "./base.ts";
import { buildLutTokenizer, type LutTokenizer } from "./lut_tokenizer.ts";

export interface LUTConditionerOptions {
  /** Rows of the table. */
  nBins: number;
  /** Size of a row. */
  dim: number;
  outputDim: number;
  /** `noop` (the whole text is one word) or `whitespace`. */
  tokenizer: string;
  padIndex?: number;
  /** Lengths are padded to a multiple of this: see `padTokens`. */
  lengthMultiple?: number;
}

export class LUTConditioner extends Conditioner<"text"> {
  readonly kind = "text";
  readonly embed: Embedding;
  private readonly tokenizer: LutTokenizer;
  private readonly padIndex: number;
  private readonly lengthMultiple: number;

  /** @throws UserError for an unknown tokenizer */
  constructor(options: LUTConditionerOptions, init: InitializerStream) {
    const { nBins, dim, outputDim, tokenizer, padIndex = 0, lengthMultiple = 1 } = options;
    super(dim, outputDim, init);
    this.embed = new Embedding(nBins, dim, init.standardNormal());
    this.tokenizer = buildLutTokenizer(tokenizer, nBins, padIndex);
    this.padIndex = padIndex;
    this.lengthMultiple = lengthMultiple;
  }

  /** Token ids; they don't depend on `training`. */
  override prepare(texts: readonly (string | null)[], _options: PrepareOptions): PreparedCondition {
    return padTokens(this.tokenizer.tokenize(texts), this.padIndex, this.lengthMultiple);
  }

  override forward(prepared: PreparedCondition): ConditionTensors {
    return this.project(this.embed.forward(prepared.input), prepared);
  }
}
