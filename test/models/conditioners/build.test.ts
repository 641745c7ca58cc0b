/** From the config's sections to a provider and a fuser, and the batches that go through them. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { WavCondition } from "../../../src/data/conditioning.ts";
import { textAttributes } from "../../../src/models/conditioners/base.ts";
import { buildConditioners } from "../../../src/models/conditioners/build.ts";
import { nullConditions } from "../../../src/models/conditioners/provider.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { jit, type Tensor, tf } from "../../../src/runtime/index.ts";

const golden = new URL("../../golden/", import.meta.url).pathname;
const lut = { model: "lut", lut: { n_bins: 128, dim: 4, tokenizer: "whitespace", pad_idx: 0 } };
const crossOnly = { sum: [], prepend: [], cross: ["description"], input_interpolate: [] };

test("conditioners work in the config's order, on their own attribute, and others are left alone", async () => {
  const { provider, fuser } = await build({
    conditioners: { genre: lut, description: lut },
    fuser: { cross: ["description"], sum: ["genre"] },
  });
  const prepared = provider.prepare(
    [
      textAttributes({ description: "slow piano", genre: "rock", mood: "sad" }),
      textAttributes({ description: null, genre: "jazz", mood: null }),
    ],
    { training: false },
  );
  const conditions = jit((p: typeof prepared) => provider.forward(p))(prepared);
  assert.deepEqual(Object.keys(conditions), ["genre", "description"]);
  assert.deepEqual(conditions.genre.mask.arraySync(), [[1], [1]]);
  assert.deepEqual(conditions.description.mask.arraySync(), [
    [1, 1, ...Array(14).fill(0)],
    Array(16).fill(0),
  ]);
  assert.ok(fuser.usesCross);
  assert.deepEqual(
    provider
      .namedParameters("condition_provider.")
      .map(([name]) => name)
      .slice(3),
    ["output_proj.weight", "output_proj.bias", "embed.weight"].map(
      (name) => `condition_provider.conditioners.description.${name}`,
    ),
  );
});

test("only what goes to cross-attention alone is padded: prepended and summed conditions keep their length", async () => {
  for (const [method, length] of [
    ["cross", 16],
    ["prepend", 2],
    ["sum", 2],
    ["input_interpolate", 2],
  ] as const) {
    const { provider } = await build({
      conditioners: { description: lut },
      fuser: { [method]: ["description"] },
    });
    const { description } = provider.prepare([textAttributes({ description: "slow piano" })], {
      training: false,
    });
    assert.equal(description.input.shape[1], length, method);
  }
});

test("null conditions have zeros for every vector, and leave the given attributes as they are", async () => {
  const { provider } = await build({ conditioners: { description: lut }, fuser: crossOnly });
  const samples = [textAttributes({ description: "slow piano" })];
  const nulls = nullConditions(samples);
  assert.equal(samples[0].text.description, "slow piano");
  // together with the real ones, as generation runs them: padded to the same length
  const { description } = provider.forward(provider.prepare([...samples, ...nulls], { training: false }));
  const [real, none] = tf.unstack(description.embedding).map((row: Tensor) => row.dataSync());
  assert.ok(real.some((value) => value !== 0));
  assert.ok(none.every((value) => value === 0));
});

test("a sample without an attribute that a conditioner is for is refused, by sample and attribute", async () => {
  const { provider } = await build({ conditioners: { description: lut }, fuser: crossOnly });
  const samples = [textAttributes({ description: null }), textAttributes({ genre: "rock" })];
  assert.throws(() => provider.prepare(samples, { training: false }), {
    name: "UserError",
    message: /sample 1 of the batch has no text "description" \(it has: genre\)/,
  });
});

test("model t5 is loaded from a folder with its three files, and draws repeat from the provider's saved states", async (t) => {
  const folder = t5Folder(t);
  const t5 = { name: folder, finetune: false, word_dropout: 0.5, normalize_text: false };
  const { provider } = await build({ conditioners: { description: { model: "t5", t5 } }, fuser: crossOnly });
  const hidden = () => {
    const samples = [textAttributes({ description: "a lead on a piano, a tale of an old piano" })];
    return [...provider.prepare(samples, { training: true }).description.input.dataSync()];
  };
  const states = provider.randomStates();
  const first = hidden();
  assert.ok(first.every(Number.isFinite));
  assert.notDeepEqual(hidden(), first);
  provider.restoreRandomStates(JSON.parse(JSON.stringify(states)));
  assert.deepEqual(hidden(), first);
});

test("transformer_lm.cross_attention_mask hides from cross-attention what each row's mask excludes, AudioCraft's default does not", async () => {
  for (const cross_attention_mask of [true, false]) {
    const { provider, fuser } = await build({
      conditioners: { genre: lut, description: lut },
      fuser: { cross: ["genre", "description"] },
      transformer_lm: { cross_attention_mask },
    });
    const samples = [
      textAttributes({ description: "slow piano", genre: "rock" }),
      textAttributes({ description: null, genre: "jazz" }),
    ];
    const conditions = provider.forward(provider.prepare(samples, { training: false }));
    const bias = fuser.fuse(tf.zeros([2, 3, 6]), conditions).cross!.bias;
    const hidden = (row: number[]) => row.map((value) => (value === 0 ? "." : "x")).join("");
    const rows = tf.reshape(bias, [-1, 32]).arraySync() as number[][];
    assert.deepEqual(
      rows.map(hidden),
      (cross_attention_mask
        ? [
            [".", ".."],
            [".", ""],
          ]
        : [[".", ".."]]
      ).map(([genre, description]) => genre.padEnd(16, "x") + description.padEnd(16, "x")),
    );
  }
});

test("the stock melody config builds, with a T5 from a folder, and its batch is [self_wav | description | tokens]", async (t) => {
  const stock = JSON.parse(readFileSync(`${golden}configs/config_musicgen_melody_32khz.json`, "utf8")).config;
  stock.conditioners.description.t5.name = t5Folder(t);
  const { provider, fuser } = await build(stock);
  const self_wav: WavCondition = {
    ...{ wav: new Float32Array(32000), shape: [1, 1, 32000], length: 32000, sampleRate: 32000 },
    ...{ path: null, seekTime: 0 },
  };
  const samples = [{ text: { description: "slow piano" }, wav: { self_wav }, joint_embed: {} }];
  const conditions = provider.forward(provider.prepare(samples, { training: true }));
  const { input, prefixLength } = fuser.fuse(tf.zeros([1, 3, 6]), conditions);
  const [melody, text] = [conditions.self_wav.embedding, conditions.description.embedding];
  assert.equal(melody.shape[1], 8); // 1 + 32000 / 4096
  assert.deepEqual(
    input.slice([0, 0, 0], [1, prefixLength, 6]).arraySync(),
    tf.concat([melody, text], 1).arraySync(),
  );
});

test("no conditioners at all make an empty provider", async () => {
  const { provider, fuser } = await build({ conditioners: null, fuser: { cross: [] } });
  assert.deepEqual(provider.prepare([textAttributes({ description: "x" })], { training: false }), {});
  assert.equal(fuser.usesCross, false);
});

const refused: [string, object, RegExp][] = [
  ["models that are not built", { model: "melody", melody: {} }, /description\.model=melody is not built/],
  ["unknown models", { model: "bert", bert: {} }, /description\.model=bert is unknown; known: t5, lut/],
  ["unknown options", { model: "lut", lut: { ...lut.lut, bins: 3 } }, /lut\.bins is not an option/],
  [
    "a missing size",
    { model: "lut", lut: { dim: 4, tokenizer: "noop" } },
    /lut\.n_bins must be a positive integer/,
  ],
  [
    "a pad_idx outside the table",
    { model: "lut", lut: { ...lut.lut, pad_idx: 128 } },
    /pad_idx must be a bin, 0 to 127/,
  ],
  [
    "a missing rate",
    { model: "chroma_stem", chroma_stem: {} },
    /chroma_stem\.sample_rate must be a positive/,
  ],
  [
    "other autocast types",
    { model: "t5", t5: { name: "t5-base", autocast_dtype: "int8" } },
    /autocast_dtype=int8/,
  ],
];
for (const [what, description, message] of refused) {
  test(`${what}: refused by key, before anything is loaded`, async () => {
    await assert.rejects(build({ conditioners: { description }, fuser: crossOnly }), {
      name: "UserError",
      message,
    });
  });
}

test("fuser and conditioners must name the same conditions", async () => {
  await assert.rejects(
    build({ conditioners: { description: lut }, fuser: { cross: [] } }),
    /"description" is in none of/,
  );
  await assert.rejects(
    build({ conditioners: null, fuser: crossOnly }),
    /fuser names the condition "description"/,
  );
  await assert.rejects(
    build({ conditioners: {}, fuser: { crossed: [] } }),
    /fuser\.crossed is not an option/,
  );
});

/** A folder with a tiny T5 and its tokenizer. */
function t5Folder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "conditioner-"));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const file of ["config.json", "model.safetensors"]) {
    copyFileSync(`${golden}conditioners/t5/${file}`, join(folder, file));
  }
  copyFileSync(`${golden}t5_spiece/tiny.model`, join(folder, "spiece.model"));
  return folder;
}

function build(cfg: Parameters<typeof buildConditioners>[0]) {
  return buildConditioners({ dataset: { segment_duration: 1 }, ...cfg }, 6, new InitializerStream(1));
}
