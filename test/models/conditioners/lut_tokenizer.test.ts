/** The hash-table tokenizers: bins against the original's, and our own word normalisation. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { UserError } from "../../../src/errors.ts";
import { buildLutTokenizer, hashTrick, normalize } from "../../../src/models/conditioners/lut_tokenizer.ts";

const golden = JSON.parse(
  readFileSync(new URL("../../golden/dropout/dropout.json", import.meta.url), "utf8"),
);

test("words fall into the original's bins", () => {
  for (const [word, [in40, in128, in1000]] of Object.entries<number[]>(golden.hash_trick)) {
    assert.deepEqual(
      [hashTrick(word, 40), hashTrick(word, 128), hashTrick(word, 1000)],
      [in40, in128, in1000],
    );
  }
  assert.equal(hashTrick("music", 128), 16);
});

test("noop makes one token of a whole string", () => {
  const words = Object.keys(golden.hash_trick);
  const { ids, mask, length } = buildLutTokenizer("noop", 40).tokenize(["rock", null, "Jeff Buckley"]);
  assert.equal(length, 1);
  assert.ok(words.includes("rock") && words.includes("Jeff Buckley"));
  assert.deepEqual([...ids], golden.noop_tokenizer_40.tokens.flat());
  assert.deepEqual([...mask], golden.noop_tokenizer_40.mask.flat());
});

test("a batch of nulls is one column of padding", () => {
  for (const name of ["noop", "whitespace"]) {
    const { ids, mask, length } = buildLutTokenizer(name, 40).tokenize([null, null]);
    assert.equal(length, 1);
    assert.deepEqual([...ids], golden.noop_tokenizer_all_null.tokens.flat());
    assert.deepEqual([...mask], golden.noop_tokenizer_all_null.mask.flat());
  }
});

test("whitespace makes one token per word, padded to the longest text", () => {
  const tokenizer = buildLutTokenizer("whitespace", 128, 5);
  const { ids, mask, length } = tokenizer.tokenize(["Rock music!", null, "rock"]);
  assert.equal(length, 2);
  assert.deepEqual([...ids], [20, 16, 5, 5, 20, 5]);
  assert.deepEqual([...mask], [1, 1, 0, 0, 1, 0]);
});

test("normalisation keeps the words that carry meaning, in lower case and singular", () => {
  const cases: Record<string, string[]> = {
    "A lo-fi hip hop beat, with mellow pianos.": ["lo", "fi", "hip", "hop", "beat", "mellow", "piano"],
    "90s rock: heavy drums & brushes": ["90", "rock", "heavy", "drum", "brush"],
    "He didn't know he's going home": ["know", "going", "home"],
    "the singer’s melodies, 120 BPM": ["singer", "melody", "120", "bpm"],
    "bass bus series gas": ["bass", "bus", "series", "gas"],
    "Café ünïcode — 音楽": ["café", "ünïcode", "音楽"],
    "a melody in A minor, a pad in A-flat major": ["melody", "a", "minor", "pad", "a", "flat", "major"],
    " ?!. ": [],
  };
  for (const [text, words] of Object.entries(cases)) assert.deepEqual(normalize(text), words, text);
});

test("another tokenizer is a user error", () => {
  assert.throws(() => buildLutTokenizer("spacy", 128), UserError);
});
