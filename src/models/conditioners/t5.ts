/** Text by T5: the hidden states of a T5 encoder, frozen or trained, projected by a trained matrix. */
import { createHash } from "node:crypto";
import type { TextStates, TextStatesCache } from "../../data/cache/text_states.ts";
import { UserError } from "../../errors.ts";
import { fingerprint, type InitializerStream, maskedScore } from "../../nn/index.ts";
import { TorchGenerator } from "../../random/mt19937.ts";
import {
  type AutocastType,
  autocast,
  type Jitted,
  jit,
  scoped,
  type Tensor,
  tf,
} from "../../runtime/index.ts";
import type { T5Encoder } from "../t5/encoder.ts";
import type { T5Tokenizer } from "../t5/tokenizer.ts";
import type { TokenBatch } from "../token_batch.ts";
import {
  Conditioner,
  type ConditionTensors,
  type PreparedCondition,
  type PrepareOptions,
  padTokens,
} from "./base.ts";
import { normalize } from "./lut_tokenizer.ts";

/** The models that go by name, and the size of their hidden states. */
export const T5_DIMS: Readonly<Record<string, number>> = {
  "t5-small": 512,
  "t5-base": 768,
  "t5-large": 1024,
  "t5-3b": 1024,
  "t5-11b": 1024,
  "google/flan-t5-small": 512,
  "google/flan-t5-base": 768,
  "google/flan-t5-large": 1024,
  "google/flan-t5-xl": 2048,
  "google/flan-t5-xxl": 4096,
};

/** Names that AudioCraft has for models which are called otherwise on the hub. */
const T5_ALIASES: Readonly<Record<string, string>> = {
  "google/flan-t5-3b": "google/flan-t5-xl",
  "google/flan-t5-11b": "google/flan-t5-xxl",
};

/** The hub's name of a T5. */
export function t5HubName(name: string): string {
  return T5_ALIASES[name] ?? name;
}

/**
 * The length that a batch of `length` tokens is padded to in the frozen encoder, whose mask makes that exact: a multiple of a quarter
 * of the power of two above. So the encoder is traced for few lengths, and computes at most half more than it must.
 */
export function bucketOf(length: number): number {
  const step = Math.max(8, 2 ** Math.ceil(Math.log2(length)) / 4);
  return Math.ceil(length / step) * step;
}

export interface T5ConditionerOptions {
  encoder: T5Encoder;
  tokenizer: Pick<T5Tokenizer, "encodeBatch">;
  outputDim: number;
  /** Train the encoder, too: it then runs in the step and is part of the state dict, as `t5`. */
  finetune?: boolean;
  /** Bring texts to their words that carry meaning (see `normalize` in lut_tokenizer.ts). */
  normalizeText?: boolean;
  /** Probability with which a word is left out in training. */
  wordDropout?: number;
  /** Lengths are padded to a multiple of this: see `padTokens`. */
  lengthMultiple?: number;
  /** The 16-bit type that the encoder computes its matrix products in, or null for float32, whatever the model's is. */
  autocastType?: AutocastType | null;
  seed?: number;
}

export class T5Conditioner extends Conditioner<"text"> {
  readonly kind = "text";
  /** The trained encoder. */
  readonly t5: T5Encoder | null;
  /** The frozen one: private to the class and so no part of the state dict, a checkpoint does not carry it. */
  readonly #frozen: T5Encoder | null;
  private readonly encode: Jitted<[Tensor, Tensor], Tensor>;
  private readonly tokenizer: Pick<T5Tokenizer, "encodeBatch">;
  private readonly normalizeText: boolean;
  private readonly wordDropout: number;
  private readonly lengthMultiple: number;
  private readonly autocastType: AutocastType | null;
  protected override readonly generator: TorchGenerator;
  private cache: TextStatesCache | null = null;

  /** @throws UserError when `wordDropout` is not a probability */
  constructor(options: T5ConditionerOptions, init: InitializerStream) {
    const { encoder, tokenizer, outputDim } = options;
    super(encoder.config.dModel, outputDim, init);
    this.t5 = options.finetune ? encoder : null;
    this.#frozen = options.finetune ? null : encoder;
    this.encode = jit((ids: Tensor, mask: Tensor) => encoder.forward(ids, mask), { name: "t5_encoder" });
    this.tokenizer = tokenizer;
    this.normalizeText = options.normalizeText ?? false;
    this.wordDropout = options.wordDropout ?? 0;
    this.lengthMultiple = options.lengthMultiple ?? 1;
    this.autocastType = options.autocastType ?? null;
    this.generator = new TorchGenerator(options.seed ?? 1234);
    if (!(this.wordDropout >= 0 && this.wordDropout <= 1)) {
      throw new UserError(`word_dropout must be a probability between 0 and 1, got ${this.wordDropout}`);
    }
  }

  /**
   * Tokens and, when it is frozen, T5. No text (null, "", or all words dropped) is the token `</s>` under mask 0, in T5, too; it
   * comes out as zeros.
   */
  override prepare(texts: readonly (string | null)[], { training }: PrepareOptions): PreparedCondition {
    const entries = texts.map((text) => {
      const words = this.normalizeText ? normalize(text ?? "").join(" ") : (text ?? "");
      return training ? this.dropWords(words) : words;
    });
    const { ids, mask, length } = this.tokenizer.encodeBatch(entries);
    for (const [row, text] of entries.entries()) {
      if (text === "") mask.fill(0, row * length, (row + 1) * length);
    }
    const tokens = padTokens({ ids, mask, length }, 0, this.lengthMultiple);
    if (this.t5) return tokens;
    const [, padded] = tokens.input.shape;
    const hidden = this.cache
      ? this.cachedStates(entries, padded)
      : this.statesOf({ ids, mask, length }, padded);
    tokens.input.dispose();
    return { ...tokens, input: hidden };
  }

  /** Opens a cache of the frozen encoder's states; from then on, `prepare` computes each text once, by itself. */
  useCache(open: (model: string) => TextStatesCache): TextStatesCache {
    const encoder = this.#frozen;
    if (!encoder)
      throw new UserError("cache.text_path: a T5 that is trained (t5.finetune=true) has no states to keep");
    this.cache = open(
      createHash("sha256")
        .update(`${fingerprint(encoder)} ${this.autocastType ?? "float32"}`)
        .digest("hex"),
    );
    return this.cache;
  }

  override forward(prepared: PreparedCondition): ConditionTensors {
    const { t5 } = this;
    if (!t5) return this.project(prepared.input, prepared);
    const hidden = autocast(this.autocastType, () => t5.forward(prepared.input, prepared.mask));
    return this.project(hidden, prepared);
  }

  override dispose(): void {
    super.dispose();
    this.encode.dispose();
    this.#frozen?.dispose();
  }

  /** [B, length, H] of texts; zeros on padding, which is masked. */
  private cachedStates(texts: readonly string[], length: number): Tensor {
    const cache = this.cache!;
    const distinct = [...new Set(texts)].filter((text) => text !== "");
    const missing = distinct.filter((text) => !cache.has(text));
    if (missing.length > 0) cache.add(new Map(missing.map((text) => [text, this.statesOfText(text)])));
    // read back also what was computed just now: shorter types round
    const states = new Map(distinct.map((text) => [text, cache.get(text)]));
    const dim = this.#frozen!.config.dModel;
    const values = new Float32Array(texts.length * length * dim);
    for (const [row, text] of texts.entries()) {
      if (text !== "") values.set(states.get(text)!.values, row * length * dim);
    }
    return tf.tensor3d(values, [texts.length, length, dim]) as Tensor;
  }

  /** Of one text alone: what a batch's other texts do to the rounding must not enter a cache. */
  private statesOfText(text: string): TextStates {
    const batch = this.tokenizer.encodeBatch([text]);
    const values = scoped(() => this.statesOf(batch, batch.length).dataSync() as Float32Array);
    return { values, length: batch.length, dim: values.length / batch.length };
  }

  /** What the frozen encoder makes of tokens, for `length` positions of which those beyond the tokens' are masked: [B, length, H]. */
  private statesOf(tokens: TokenBatch, length: number): Tensor {
    return tf.tidy(() => {
      // T5's cost grows with its length, so it does not take all of the padding that saves traces of a training step
      const own = bucketOf(tokens.length);
      const { input, mask, crossBias } = padTokens(tokens, 0, own);
      // -1 on padding: it stays out of sight also where a text is masked as a whole
      const below = tf.div(crossBias.reshape([1, -1]), -maskedScore);
      const hidden = autocast(this.autocastType, () => this.encode(input, tf.add(mask, below)));
      if (own >= length) return tf.slice(hidden, [0, 0, 0], [-1, length, -1]);
      return tf.pad(hidden, [
        [0, 0],
        [0, length - own],
        [0, 0],
      ]);
    });
  }

  /** Keeps each word with probability 1 - wordDropout; words are what single spaces separate. */
  private dropWords(text: string): string {
    if (this.wordDropout === 0) return text;
    return text
      .split(" ")
      .filter(() => this.generator.rand() >= this.wordDropout)
      .join(" ");
  }
}
