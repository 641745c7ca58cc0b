/** RoBERTa's tokenizer against transformers' (test/golden/clap). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { UserError } from "../../../src/errors.ts";
import { readTokenizerJson, readVocabulary, robertaTokenizer } from "../../../src/models/clap/tokenizer.ts";
import { golden, readTexts } from "./golden.ts";

const fromFiles = robertaTokenizer(
  readVocabulary(`${golden}relu/vocab.json`, `${golden}relu/merges.txt`),
  "relu",
);

test("ids equal transformers' for words, white space, contractions, digits, other scripts and special tokens", () => {
  const { texts, ids } = readTexts("relu");
  assert.deepEqual(
    texts.map((text) => fromFiles.encode(text)),
    ids,
  );
});

test("tokenizer.json holds the same tokenizer as vocab.json and merges.txt", () => {
  const fromJson = robertaTokenizer(readTokenizerJson(`${golden}gelu/tokenizer.json`), "gelu");
  const { texts, ids } = readTexts("gelu");
  assert.deepEqual(
    texts.map((text) => fromJson.encode(text)),
    ids,
  );
});

test("a text that is too long loses its end, not its </s>", () => {
  const whole = fromFiles.encode("piano ".repeat(60));
  const cut = fromFiles.encode("piano ".repeat(60), 10);
  assert.deepEqual(cut, [...whole.slice(0, 9), whole[whole.length - 1]]);
});

test("a batch is padded to its longest row with <pad> under mask 0", () => {
  const { ids, mask, length } = fromFiles.encodeBatch(["", "calm piano"]);
  const row = fromFiles.encode("calm piano");
  assert.equal(length, row.length);
  assert.deepEqual([...ids.subarray(length)], row);
  assert.deepEqual([...ids.subarray(0, length)], [0, 2, ...new Array(length - 2).fill(1)]);
  assert.deepEqual([...mask.subarray(0, length)], [1, 1, ...new Array(length - 2).fill(0)]);
});

test("a vocabulary without special tokens is refused", () => {
  assert.throws(() => robertaTokenizer({ ids: new Map([["a", 0]]), merges: [] }, "vocab.json"), UserError);
});
