/** T5's hidden states from a cache on disk, against those computed. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type StatesDtype, TextStatesCache } from "../../../src/data/cache/text_states.ts";
import { T5Conditioner, type T5ConditionerOptions } from "../../../src/models/conditioners/t5.ts";
import { loadT5Encoder } from "../../../src/models/t5/load.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { tf } from "../../../src/runtime/index.ts";

const encoder = await loadT5Encoder(new URL("../../golden/conditioners/t5", import.meta.url).pathname);
const folder = mkdtempSync(join(tmpdir(), "musicgen-texts-"));
after(() => rmSync(folder, { recursive: true }));

const texts = ["slow ambient pad with soft piano", "fast techno", null, "fast techno", "drums"];
let encoded = 0;
/** Ids are the lengths of the words. */
const tokenizer = {
  encodeBatch(batch: readonly string[]) {
    encoded = batch.length;
    const rows = batch.map((text) => [...(text === "" ? [] : text.split(" ").map((word) => word.length)), 1]);
    const length = Math.max(...rows.map((row) => row.length));
    const ids = new Int32Array(rows.length * length);
    const mask = new Float32Array(rows.length * length);
    for (const [i, row] of rows.entries()) {
      ids.set(row, i * length);
      mask.fill(1, i * length, i * length + row.length);
    }
    return { ids, mask, length };
  },
};

function conditioner(more: Partial<T5ConditionerOptions> = {}): T5Conditioner {
  return new T5Conditioner(
    { encoder, tokenizer, outputDim: 16, lengthMultiple: 8, ...more },
    new InitializerStream(1),
  );
}

function states(of: T5Conditioner, batch: readonly (string | null)[]): Float32Array {
  return of.prepare(batch, { training: false }).input.dataSync() as Float32Array;
}

function withCache<T>(name: string, dtype: StatesDtype, f: (of: T5Conditioner) => T): T {
  const of = conditioner();
  const cache = of.useCache((model) => new TextStatesCache(join(folder, name), model, dtype));
  try {
    return f(of);
  } finally {
    cache.close();
  }
}

const dim = encoder.config.dModel;

test("in float32, a text's cached states are those that T5 computes for it alone, to the bit, when written and when read, in any batch", () => {
  const alone = Object.fromEntries(
    ["slow ambient pad with soft piano", "fast techno", "drums"].map((text) => [
      text,
      states(conditioner(), [text]),
    ]),
  );
  for (const when of ["written", "read"]) {
    withCache("exact", "float32", (of) => {
      const batch = states(of, texts);
      for (const [row, text] of texts.entries()) {
        const length = text === null ? 0 : text.split(" ").length + 1;
        const values = batch.subarray(row * 8 * dim, (row + 1) * 8 * dim);
        assert.deepEqual(
          values.subarray(0, length * dim),
          text === null ? new Float32Array(0) : alone[text].subarray(0, length * dim),
          `${text} when ${when}`,
        );
        assert.ok(values.subarray(length * dim).every((value) => value === 0));
      }
    });
  }
});

test("embeddings with a cache equal those without to 1e-5: T5's states do not depend on a batch's padding beyond rounding", () => {
  const of = conditioner();
  const embed = (source: T5Conditioner) => {
    const { embedding, mask } = of.forward(source.prepare(texts, { training: false }));
    return [embedding.dataSync(), mask.dataSync()];
  };
  const [plain, plainMask] = embed(of);
  const [cached, cachedMask] = withCache("close", "float32", embed);
  assert.deepEqual(cachedMask, plainMask);
  for (const [i, value] of plain.entries()) assert.ok(Math.abs(value - cached[i]) < 1e-5);
});

test("each distinct text is computed once, over all batches and runs; other weights and types have their own", () => {
  const computed = (name: string, dtype: StatesDtype, batch: (string | null)[]) =>
    withCache(name, dtype, (of) => {
      encoded = 0;
      states(of, batch);
      return encoded < batch.length; // the last call of the tokenizer was for one text alone
    });
  assert.ok(computed("once", "float32", ["a b", "c d e"]));
  assert.ok(!computed("once", "float32", ["c d e", "a b"]));
  assert.ok(computed("once", "float32", ["a b", "new"]));
  assert.ok(computed("once", "float16", ["a b", "new"]));
  const [first] = encoder.namedParameters();
  const before = first[1].read().slice() as Float32Array;
  tf.tidy(() => first[1].assign(tf.add(first[1].value, 1e-3)));
  assert.ok(computed("once", "float32", ["a b", "new"]));
  first[1].load(before);
  assert.ok(!computed("once", "float32", ["a b", "new"]));
});

test("half precision stores half as many bytes, and gives the rounded values from the first time on", () => {
  const exact = states(conditioner(), ["drums"]);
  for (const [dtype, tolerance] of [
    ["float16", 2 ** -11],
    ["bfloat16", 2 ** -8],
  ] as const) {
    const [first, again] = [0, 1].map(() => withCache("half", dtype, (of) => states(of, ["drums"])));
    assert.deepEqual(again, first);
    for (let i = 0; i < 2 * dim; i++)
      assert.ok(Math.abs(first[i] - exact[i]) <= tolerance * Math.abs(exact[i]) + 1e-7, dtype);
    assert.notDeepEqual(first.subarray(0, 2 * dim), exact.subarray(0, 2 * dim));
  }
});

test("two processes at once write beside each other, and the next one reads both", () => {
  const open = () => {
    const of = conditioner();
    return { of, cache: of.useCache((model) => new TextStatesCache(join(folder, "both"), model)) };
  };
  const [one, two] = [open(), open()];
  states(one.of, ["first"]);
  states(two.of, ["second"]);
  one.cache.close();
  two.cache.close();
  const [own] = readdirSync(join(folder, "both"));
  assert.deepEqual(readdirSync(join(folder, "both", own)).sort(), ["job-0", "job-1"]);
  const { cache } = open();
  assert.ok(cache.has("first") && cache.has("second") && !cache.has("third"));
  cache.close();
});

test("a T5 that is trained has no cache", () => {
  assert.throws(
    () => conditioner({ finetune: true }).useCache((model) => new TextStatesCache(folder, model)),
    /cache\.text_path: .*finetune/,
  );
});
