/** The T5 encoder against transformers (test/golden/t5), and loading it from the files that carry it. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openSafetensors, writeSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { UserError } from "../../../src/errors.ts";
import { parseT5Config } from "../../../src/models/t5/config.ts";
import type { T5Encoder } from "../../../src/models/t5/encoder.ts";
import { loadT5, loadT5Encoder } from "../../../src/models/t5/load.ts";
import { relativePositionBuckets } from "../../../src/models/t5/relative_position.ts";
import { type JitMode, jit, type Tensor, tf } from "../../../src/runtime/index.ts";

const golden = new URL("../../golden/t5/", import.meta.url).pathname;
const spiece = new URL("../../golden/t5_spiece/tiny.model", import.meta.url).pathname;

const variants = ["relu", "gated"];
const modes: JitMode[] = ["none", "graph", "xla"];

for (const variant of variants) {
  for (const mode of modes) {
    test(`${variant} with 150 tokens, two of three rows padded, equals transformers to 1e-5 (jit=${mode})`, async () => {
      const { encoder, outputs } = await load(variant);
      const { ids, mask } = inputs(outputs, 150);
      close(forward(encoder, ids, mask, mode), outputs.readFloat32("hidden"), 1e-5);
    });
  }

  test(`${variant} with the first 7 tokens equals transformers to 1e-5`, async () => {
    const { encoder, outputs } = await load(variant);
    const { ids, mask } = inputs(outputs, 7);
    close(forward(encoder, ids, mask, "graph"), outputs.readFloat32("hidden_short"), 1e-5);
  });
}

test("buckets of relative positions equal transformers' exactly, for distances -149 to 149", async () => {
  const { outputs } = await load("relu");
  const buckets = relativePositionBuckets(150, 32, 128);
  assert.deepEqual([...buckets.subarray(0, 150)], [...outputs.read("buckets_150.first_row")]);
  assert.deepEqual([...buckets.subarray(149 * 150)], [...outputs.read("buckets_150.last_row")]);
  for (let i = 1; i < 150; i++) {
    for (let j = 1; j < 150; j++) assert.equal(buckets[i * 150 + j], buckets[(i - 1) * 150 + j - 1]);
  }
});

test("padding behind a text does not change the hidden states of its tokens", async () => {
  const { encoder } = await load("gated");
  const tokens = [5, 17, 42, 1];
  const short = forward(encoder, tf.tensor2d([tokens], [1, 4], "int32"), tf.ones([1, 4]), "graph");
  const ids = tf.tensor2d([[...tokens, 0, 0, 0, 0]], [1, 8], "int32");
  const long = forward(encoder, ids, tf.tensor2d([[1, 1, 1, 1, 0, 0, 0, 0]]), "graph");
  close(long.subarray(0, short.length), short, 5e-6); // twice the rounding error of the original (2e-6)
});

test("a row whose mask is all zero stays finite", async () => {
  const { encoder } = await load("relu");
  const hidden = forward(encoder, tf.tensor2d([[1, 0, 0]], [1, 3], "int32"), tf.zeros([1, 3]), "graph");
  assert.ok(hidden.every(Number.isFinite));
});

test("parameter names are exactly those of the Hugging Face file", async () => {
  for (const variant of variants) {
    const { encoder } = await load(variant);
    const inFile = openSafetensors(`${golden}${variant}/model.safetensors`).names;
    assert.deepEqual(
      encoder
        .namedParameters()
        .map(([name]) => name)
        .sort(),
      [...inFile].sort(),
    );
  }
});

test("a MusicGen repository is a source too: text_encoder.*, with the embeddings under encoder.embed_tokens", async (t) => {
  const folder = temporaryFolder(t);
  await rewrite(folder, (name) =>
    name === "shared.weight" ? "text_encoder.encoder.embed_tokens.weight" : `text_encoder.${name}`,
  );
  const text_encoder = JSON.parse(
    '{"d_model":32,"d_kv":8,"d_ff":64,"num_layers":3,"num_heads":4,"vocab_size":100}',
  );
  writeFileSync(join(folder, "config.json"), JSON.stringify({ model_type: "musicgen", text_encoder }));
  const [ours, original] = [await loadT5Encoder(folder), (await load("relu")).encoder];
  const theirs = new Map(original.namedParameters());
  for (const [name, parameter] of ours.namedParameters()) {
    assert.deepEqual(parameter.read(), theirs.get(name)!.read(), name);
  }
});

test("tensors of T5's decoder in the file are left alone", async (t) => {
  const folder = temporaryFolder(t);
  await rewrite(folder, (name) => name, [
    { name: "decoder.block.0.layer.0.layer_norm.weight", values: [1, 2] },
  ]);
  copyFileSync(`${golden}relu/config.json`, join(folder, "config.json"));
  await loadT5Encoder(folder);
});

test("loadT5 brings encoder and tokenizer together, and refuses those of different vocabularies", async (t) => {
  const folder = temporaryFolder(t);
  const source = new URL("../../golden/conditioners/t5/", import.meta.url).pathname;
  for (const file of ["config.json", "model.safetensors"]) copyFileSync(source + file, join(folder, file));
  copyFileSync(spiece, join(folder, "spiece.model"));
  const { encoder, tokenizer } = await loadT5(folder);
  assert.equal(encoder.config.vocabSize, 128);
  assert.equal(tokenizer.vocabSize, 126);
  for (const file of ["config.json", "model.safetensors"])
    copyFileSync(`${golden}relu/${file}`, join(folder, file));
  await assert.rejects(loadT5(folder), {
    name: "UserError",
    message: /tokenizer has 126 tokens, the model 100/,
  });
});

test("a file that lacks a weight is refused, by the weight's name", async (t) => {
  const folder = temporaryFolder(t);
  await rewrite(folder, (name) => name.replace("block.2.layer.1.DenseReluDense.wo", "elsewhere"));
  copyFileSync(`${golden}relu/config.json`, join(folder, "config.json"));
  await assert.rejects(loadT5Encoder(folder), {
    name: "UserError",
    message: /missing: encoder\.block\.2\.layer\.1\.DenseReluDense\.wo\.weight/,
  });
});

test("a config of another model, or with another activation, is refused", () => {
  assert.throws(() => parseT5Config({ model_type: "bert" }, "config.json"), UserError);
  assert.throws(
    () => parseT5Config({ feed_forward_proj: "gated-silu" }, "config.json"),
    /gated-silu.*not built/,
  );
  assert.throws(() => parseT5Config({ d_model: 512 }, "config.json"), /vocab_size must be a positive number/);
  assert.throws(() => parseT5Config([], "config.json"), /not a model's config/);
});

async function load(variant: string) {
  const encoder = await loadT5Encoder(golden + variant);
  return { encoder, outputs: openSafetensors(`${golden}${variant}/outputs.safetensors`) };
}

/** The golden batch of 3, cut to `length` tokens. */
function inputs(outputs: ReturnType<typeof openSafetensors>, length: number) {
  const cut = (name: string) =>
    tf.tidy(() =>
      tf.tensor2d(outputs.read(name) as Int32Array, [3, 150], "int32").slice([0, 0], [3, length]),
    );
  return { ids: cut("input_ids"), mask: cut("attention_mask").toFloat() as Tensor };
}

function forward(encoder: T5Encoder, ids: Tensor, mask: Tensor, mode: JitMode): Float32Array {
  const run = jit((i: Tensor, m: Tensor) => encoder.forward(i, m), { mode, name: "t5" });
  return run(ids, mask).dataSync() as Float32Array;
}

/** The relu model's file with other names, and with more tensors. */
async function rewrite(
  folder: string,
  rename: (name: string) => string,
  more: { name: string; values: number[] }[] = [],
): Promise<void> {
  const reader = openSafetensors(`${golden}relu/model.safetensors`);
  await writeSafetensors(join(folder, "model.safetensors"), [
    ...reader.names.map((name) => ({
      name: rename(name),
      dtype: reader.dtype(name),
      shape: reader.shape(name),
      data: () => reader.read(name),
    })),
    ...more.map(({ name, values }) => ({
      name,
      dtype: "F32" as const,
      shape: [values.length],
      data: () => Float32Array.from(values),
    })),
  ]);
}

function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "t5-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function close(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    assert.ok(Math.abs(actual[i] - expected[i]) <= tolerance, `[${i}] ${actual[i]} != ${expected[i]}`);
  }
}
