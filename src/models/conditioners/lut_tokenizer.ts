/** Tokenizers of the look-up-table conditioner: words or whole strings become bins of a hash table. */
import { createHash } from "node:crypto";
import { UserError } from "../../errors.ts";
import { padRows, type TokenBatch } from "../token_batch.ts";

export interface LutTokenizer {
  /** A null text becomes padding with mask 0. */
  tokenize(texts: readonly (string | null)[]): TokenBatch;
}

/**
 * `noop`: the whole string is one token. `whitespace`: one token per word that remains after `normalize`.
 * @param nBins size of the table; @param padIndex the id of padding
 * @throws UserError for another name
 */
export function buildLutTokenizer(name: string, nBins: number, padIndex = 0): LutTokenizer {
  if (name === "noop") return tokenizer((text) => [text], nBins, padIndex);
  if (name === "whitespace") return tokenizer(normalize, nBins, padIndex);
  throw new UserError(`conditioner lut: unknown tokenizer "${name}"; known: noop, whitespace`);
}

/** The bin of a word: SHA-256 of its UTF-8 bytes, as one big integer, modulo the number of bins. */
export function hashTrick(word: string, nBins: number): number {
  const digest = createHash("sha256").update(word, "utf8").digest("hex");
  return Number(BigInt(`0x${digest}`) % BigInt(nBins));
}

/**
 * The words that carry meaning: lower case, without punctuation, stop words and the plural "s". Numbers stay digits.
 * The name of a key stays, also that of A. AudioCraft runs spaCy's English model here (lemmas, its own stop words, numbers in words), so that a table trained
 * there does not fit this normalisation word for word.
 */
export function normalize(text: string): string[] {
  return text
    .toLowerCase()
    .replace(/[’`]/g, "'")
    .split(/[^\p{L}\p{M}\p{N}']+/u)
    .map((word) => word.replace(/^'+|'s$|'+$/g, ""))
    .filter((word, i, words) => word !== "" && (!STOP_WORDS.has(word) || isKey(word, words[i + 1])))
    .map(singular);
}

/** The A of A minor and A-flat is no article. */
function isKey(word: string, next: string | undefined): boolean {
  return word === "a" && /^(major|minor|flat|sharp)$/.test(next ?? "");
}

const STOP_WORDS = new Set(
  (
    "a about above after again against all also am an and any are as at be because been before being below between " +
    "both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each few for from " +
    "further had has have having he her here hers him his how i i'd i'll i'm i've if in into is isn't it its itself " +
    "just me more most my myself no nor not of off on once only or other our ours out over own same she should so some " +
    "such than that the their theirs them then there these they they're this those through to too under until up very " +
    "was wasn't we we're were weren't what when where which while who whom why will with would you you're your yours"
  ).split(" "),
);

/** drums -> drum, melodies -> melody, brushes -> brush, 90s -> 90; bass, bus, this-like endings stay. */
function singular(word: string): string {
  if (/^\d+s$/.test(word)) return word.slice(0, -1);
  if (word.length <= 3 || /(ss|us|is)$/.test(word) || word === "series") return word;
  if (/[^aeiou]ies$/.test(word)) return `${word.slice(0, -3)}y`;
  if (/(ch|sh|x|ss)es$/.test(word)) return word.slice(0, -2);
  return word.endsWith("s") ? word.slice(0, -1) : word;
}

function tokenizer(wordsOf: (text: string) => string[], nBins: number, padIndex: number): LutTokenizer {
  return {
    tokenize(texts) {
      const rows = texts.map((text) =>
        text === null ? [] : wordsOf(text).map((word) => hashTrick(word, nBins)),
      );
      return padRows(rows, padIndex);
    },
  };
}
