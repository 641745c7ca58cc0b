/** T5 tokens from a SentencePiece model, against ids of Google's implementation. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { UserError } from "../../../src/errors.ts";
import { loadT5Tokenizer } from "../../../src/models/t5/tokenizer.ts";

const path = (name: string) => fileURLToPath(new URL(`../../golden/t5_spiece/${name}`, import.meta.url));
const golden = JSON.parse(readFileSync(path("tiny_ids.json"), "utf8")) as { text: string; ids: number[] }[];
const tokenizer = await loadT5Tokenizer(path("tiny.model"));

const folder = mkdtempSync(join(tmpdir(), "t5-tokenizer-"));
after(() => rmSync(folder, { recursive: true }));

test("every text gets the ids of Google's sentencepiece, and </s>", () => {
  const plain = golden.filter(({ text }) => !/<(\/s|pad|unk|extra_id_\d+)>/.test(text));
  assert.equal(plain.length, 218);
  for (const { text, ids } of plain)
    assert.deepEqual(tokenizer.encode(text), [...ids, 1], JSON.stringify(text));
});

test("an empty text is </s> alone", () => assert.deepEqual(tokenizer.encode(""), [1]));

test("special tokens in a text get their ids", () => {
  assert.deepEqual(tokenizer.encode("</s> <pad> <unk>"), [1, 0, 2, 1]);
});

test("the sentinels count down from the end of the vocabulary", () => {
  assert.equal(tokenizer.vocabSize, 126);
  const [t] = tokenizer.encode("test");
  assert.deepEqual(tokenizer.encode("<extra_id_0> test <extra_id_1><extra_id_99>"), [125, t, 124, 26, 1]);
});

test("text that only looks like a sentinel is text", () => {
  for (const text of ["<extra_id_100>", "<extra_id_01>", "<extra_id_>"]) {
    assert.ok(tokenizer.encode(text).every((id) => id < 26));
  }
});

test("a batch is padded with <pad> to its longest text", () => {
  const [short, long] = ["test", "the test"].map((text) => tokenizer.encode(text));
  const batch = tokenizer.encodeBatch(["test", "the test"]);
  const padding = new Array(long.length - short.length).fill(0);
  assert.equal(batch.length, long.length);
  assert.deepEqual([...batch.ids], [...short, ...padding, ...long]);
  assert.deepEqual([...batch.mask], [...short.map(() => 1), ...padding, ...long.map(() => 1)]);
});

test("loading leaves no handlers for uncaught errors behind", async () => {
  const count = () => [
    process.listenerCount("uncaughtException"),
    process.listenerCount("unhandledRejection"),
  ];
  const before = count();
  await loadT5Tokenizer(path("tiny.model"));
  assert.deepEqual(count(), before);
});

test("a file that is no model, a cut model and a missing file are user errors that name the file", async () => {
  const model = readFileSync(path("tiny.model"));
  const files: Record<string, Buffer> = {
    "garbage.model": Buffer.from("this is not a model, but it is long enough to be one"),
    "empty.model": Buffer.alloc(0),
    "cut.model": model.subarray(0, 20_000),
  };
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
  for (const name of [...Object.keys(files), "missing.model"]) {
    await assert.rejects(
      loadT5Tokenizer(join(folder, name)),
      (error) => error instanceof UserError && error.message.includes(name),
    );
  }
});
