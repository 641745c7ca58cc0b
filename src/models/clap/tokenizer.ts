/** RoBERTa's tokenizer: byte-level byte-pair encoding (GPT-2's), between `<s>` and `</s>`. */
import { existsSync, readFileSync } from "node:fs";
import { readJson } from "../../checkpoint/json.ts";
import { UserError } from "../../errors.ts";
import { padRows, type TokenBatch } from "../token_batch.ts";

export interface RobertaTokenizer {
  readonly vocabSize: number;
  /** The ids of the text with `<s>` and `</s>`, no more than `maxLength` of them: the text's end is cut off. */
  encode(text: string, maxLength?: number): number[];
  /** Rows padded with `<pad>` to the longest. */
  encodeBatch(texts: readonly string[], maxLength?: number): TokenBatch;
}

export interface BpeVocabulary {
  /** Token -> id, the special ones included. */
  ids: ReadonlyMap<string, number>;
  /** Pairs that are merged, in order of preference; the two parts with a space between. */
  merges: readonly string[];
}

/** CLAP was trained with texts of at most this many tokens. */
export const MAX_TEXT_TOKENS = 77;

const SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] as const;

/** Splits a text at special tokens, which stay as parts of their own; `<mask>` takes the white space in front of it. */
const SPECIAL_TOKEN = /(<s>|<pad>|<\/s>|<unk>|\s*<mask>)/;

/** GPT-2's words: English contractions, letters, digits and others, each with the space in front; and runs of white space. */
const WORD = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** @throws UserError when the vocabulary lacks a special token; `path` is where it came from */
export function robertaTokenizer({ ids, merges }: BpeVocabulary, path: string): RobertaTokenizer {
  const [bos, pad, eos, unknown] = SPECIAL.map((token) => {
    const id = ids.get(token);
    if (id === undefined && token !== "<mask>")
      throw new UserError(`${path}: the vocabulary has no ${token}`);
    return id as number;
  });
  const ranks = new Map(merges.map((pair, rank) => [pair, rank]));
  const cache = new Map<string, number[]>();

  function encodeWord(word: string): number[] {
    const known = cache.get(word);
    if (known !== undefined) return known;
    const symbols = [...Buffer.from(word, "utf8")].map((byte) => BYTE_SYMBOLS[byte]);
    const result = mergePairs(symbols, ranks).map((token) => ids.get(token) ?? unknown);
    cache.set(word, result);
    return result;
  }

  function encode(text: string, maxLength = Number.POSITIVE_INFINITY): number[] {
    const inner = text.split(SPECIAL_TOKEN).flatMap((part, index) => {
      if (index % 2 === 1) return [ids.get(part.trimStart()) ?? unknown];
      return (part.match(WORD) ?? []).flatMap(encodeWord);
    });
    return [bos, ...inner.slice(0, maxLength - 2), eos];
  }

  function encodeBatch(texts: readonly string[], maxLength = MAX_TEXT_TOKENS): TokenBatch {
    const rows = texts.map((text) => encode(text, maxLength));
    return padRows(rows, pad);
  }

  return { vocabSize: Math.max(...ids.values()) + 1, encode, encodeBatch };
}

/**
 * Reads `vocab.json` and `merges.txt`.
 * @throws UserError when a file cannot be read
 */
export function readVocabulary(vocabPath: string, mergesPath: string): BpeVocabulary {
  const ids = new Map(Object.entries(readJson(vocabPath) as Record<string, number>));
  const lines = read(mergesPath).split(/\r?\n/);
  const merges = lines.filter((line, i) => line !== "" && !(i === 0 && line.startsWith("#version")));
  return { ids, merges };
}

/** Reads a `tokenizer.json` that holds a byte-pair encoding. @throws UserError when it does not, or cannot be read */
export function readTokenizerJson(path: string): BpeVocabulary {
  const json = readJson(path) as {
    model?: { vocab?: Record<string, number>; merges?: (string | [string, string])[] };
    added_tokens?: { id: number; content: string }[];
  };
  const { vocab, merges } = json.model ?? {};
  if (vocab === undefined || !Array.isArray(merges)) {
    throw new UserError(`${path}: it holds no byte-pair encoding (model.vocab and model.merges)`);
  }
  const added = (json.added_tokens ?? []).map(({ id, content }) => [content, id] as const);
  return {
    ids: new Map([...Object.entries(vocab), ...added]),
    merges: merges.map((pair) => (typeof pair === "string" ? pair : pair.join(" "))),
  };
}

/** Merges neighbours, always the pair that comes first in `ranks`, everywhere it occurs, until none is left. */
function mergePairs(symbols: string[], ranks: ReadonlyMap<string, number>): string[] {
  let parts = symbols;
  while (parts.length > 1) {
    let best = "";
    let bestRank = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < parts.length; i++) {
      const pair = `${parts[i]} ${parts[i + 1]}`;
      const rank = ranks.get(pair) ?? Number.POSITIVE_INFINITY;
      if (rank < bestRank) [best, bestRank] = [pair, rank];
    }
    if (best === "") return parts;
    const merged: string[] = [];
    for (let i = 0; i < parts.length; i++) {
      const isPair = i + 1 < parts.length && `${parts[i]} ${parts[i + 1]}` === best;
      merged.push(isPair ? parts[i] + parts[++i] : parts[i]);
    }
    parts = merged;
  }
  return parts;
}

/** A visible character for every byte: printable Latin-1 stands for itself, the others follow from U+0100 on. */
const BYTE_SYMBOLS: readonly string[] = (() => {
  const isPrintable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
})();

function read(path: string): string {
  if (!existsSync(path)) throw new UserError(`${path}: no such file`);
  return readFileSync(path, "utf8");
}
