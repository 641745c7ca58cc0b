/** `npm run export`: what is in the files. That transformers and audiocraft load them is checked by test/peers/check_export.py. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openAudiocraftPackage } from "../src/checkpoint/audiocraft.ts";
import { openHubWeights } from "../src/checkpoint/hub.ts";
import { openSafetensors, writeSafetensors } from "../src/checkpoint/safetensors.ts";
import { asMusicGenConfig, type ComposedConfig, composeTrainConfig } from "../src/config/index.ts";
import { writeShards } from "../src/export/sharded.ts";
import { exportModel, main } from "../src/export.ts";
import { buildLM } from "../src/models/builders.ts";
import { loadCompressionModel } from "../src/models/encodec/index.ts";
import { type Tensor, tf } from "../src/runtime/index.ts";
import { loadMusicGen } from "../src/solvers/trained.ts";
import { close } from "./close.ts";

const golden = fileURLToPath(new URL("golden", import.meta.url));
const tiny = join(golden, "hf_musicgen_tiny/model");
const scratch = mkdtempSync(join(tmpdir(), "export-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

type Format = "hf" | "audiocraft" | "safetensors";

/** What `npm run export -- model --format format --out name` writes. */
async function exported(
  model: string,
  format: Format,
  name: string,
  dtype: "float32" | "bfloat16" = "float32",
): Promise<string> {
  const out = join(scratch, name);
  await exportModel({ model, format, out, dtype });
  return out;
}

/** A checkpoint of the size of nothing, with new weights, as a training with these overrides makes it. */
async function checkpoint(
  name: string,
  overrides: string[],
): Promise<{ path: string; config: ComposedConfig }> {
  const config = composeTrainConfig(["transformer_lm.dim=16", "transformer_lm.num_layers=1", ...overrides]);
  const lm = await buildLM(asMusicGenConfig(config));
  const tensors = lm.namedParameters().map(([parameter, p]) => ({
    name: `model.${parameter}`,
    dtype: "F32" as const,
    shape: p.shape,
    data: () => p.read(),
  }));
  const path = join(scratch, name);
  await writeSafetensors(path, tensors, { "xp.cfg": config.toYaml(), "xp.sig": "0123abcd" });
  return { path, config };
}

async function weightsOf(model: string): Promise<Map<string, Float32Array>> {
  const { musicgen } = await loadMusicGen(model);
  return new Map(musicgen.lm.namedParameters().map(([name, p]) => [name, p.read() as Float32Array]));
}

test("hf: a model of transformers comes back with the same tensors, byte for byte, and the same config", async () => {
  const folder = await exported(tiny, "hf", "hf");
  const [mine, theirs] = [folder, tiny].map((at) => openSafetensors(join(at, "model.safetensors")));
  const modern = (name: string) =>
    name
      .replace("weight_g", "parametrizations.weight.original0")
      .replace("weight_v", "parametrizations.weight.original1");
  assert.deepEqual(mine.names.map(modern).sort(), [...theirs.names].sort());
  for (const name of mine.names) {
    assert.deepEqual(mine.shape(name), theirs.shape(modern(name)), name);
    assert.deepEqual(mine.read(name), theirs.read(modern(name)), name);
  }
  const [config, original] = [folder, tiny].map((at) =>
    JSON.parse(readFileSync(join(at, "config.json"), "utf8")),
  );
  for (const part of ["text_encoder", "audio_encoder", "decoder"]) {
    for (const [key, value] of Object.entries(original[part])) {
      const isSizeOfTable = key === "max_position_embeddings"; // sinusoids, which have no end
      if (config[part][key] !== undefined && !isSizeOfTable)
        assert.deepEqual(config[part][key], value, `${part}.${key}`);
    }
  }
  assert.deepEqual(config.architectures, original.architectures);
  const generation = JSON.parse(readFileSync(join(folder, "generation_config.json"), "utf8"));
  assert.equal(generation.max_length, 1500);
  assert.equal(generation.top_k, 50);
  assert.doesNotMatch(readFileSync(join(folder, "README.md"), "utf8"), new RegExp(golden));
});

for (const variant of ["stereo", "melody", "square"]) {
  test(`hf: a ${variant} model comes back with the same weights`, async () => {
    const original = join(golden, "hf_variants", variant);
    const folder = await exported(original, "hf", `hf-${variant}`);
    assert.deepEqual(await weightsOf(folder), await weightsOf(original));
  });
}

test("hf: what its class has no place for is refused by name, and nothing is written", async () => {
  const { path } = await checkpoint("rope.safetensors", ["transformer_lm.positional_embedding=rope"]);
  await assert.rejects(
    exported(path, "hf", "refused"),
    /no place for transformer_lm\.positional_embedding=rope, conditioners\.description\.model=lut.*--format audiocraft/,
  );
  assert.equal(existsSync(join(scratch, "refused")), false);
});

test("audiocraft: state_dict.bin has our tensors and a config without our own keys, and loads here", async () => {
  const { path } = await checkpoint("lut.safetensors", ["+transformer_lm.cross_attention_mask=false"]);
  const folder = await exported(path, "audiocraft", "audiocraft");
  const found = openAudiocraftPackage(join(folder, "state_dict.bin"));
  assert.ok(found.kind === "model");
  for (const key of ["jit", "stage_samples", "transformer_lm.cross_attention_mask"]) {
    assert.equal(found.config.has(key), false, key);
  }
  assert.match(found.config.toYaml(), /num_layers: 1\n/);
  found.weights.close();
  assert.deepEqual(await weightsOf(folder), await weightsOf(path));
});

test("audiocraft: a text encoder that it does not know by name is refused", async () => {
  await assert.rejects(exported(tiny, "audiocraft", "unknown-t5"), /loads text encoders by name/);
});

test("safetensors: one checkpoint with the weights alone, in half precision if asked for", async () => {
  const folder = await exported(tiny, "safetensors", "single", "bfloat16");
  const file = openSafetensors(join(folder, "checkpoint.safetensors"));
  assert.ok(file.names.every((name) => name.startsWith("model.") && file.dtype(name) === "BF16"));
  file.close();
  const [mine, theirs] = [await weightsOf(folder), await weightsOf(tiny)];
  for (const [name, values] of mine) {
    const worst = values.map((value, i) => Math.abs(value - theirs.get(name)![i]) / (Math.abs(value) + 1e-9));
    assert.ok(Math.max(...worst) < 2 ** -8, name);
  }
});

test("a codec alone is exported to audiocraft's file and to ours, and decodes the same", async () => {
  const spec = "//embedded/encodec_tiny_16khz";
  const codes = tf.zeros([1, 4, 5], "int32") as Tensor;
  const expected = (await loadCompressionModel(spec)).decode(codes).dataSync();
  const folder = await exported(spec, "audiocraft", "codec-audiocraft");
  const file = await exported(spec, "safetensors", "codec.safetensors");
  for (const path of [join(folder, "compression_state_dict.bin"), file]) {
    close((await loadCompressionModel(path)).decode(codes).dataSync(), expected, 0);
  }
  await exported(spec, "hf", "codec-hf");
  close((await loadCompressionModel(join(scratch, "codec-hf"))).decode(codes).dataSync(), expected, 1e-6);
});

test("weights above the limit go into shards with an index, from which they are read as one", async () => {
  const tensor = (name: string, value: number) => ({
    name,
    dtype: "F32" as const,
    shape: [10],
    data: () => new Float32Array(10).fill(value),
  });
  await writeShards(scratch, [tensor("a", 1), tensor("b", 2), tensor("c", 3)], { shardBytes: 80 });
  assert.ok(existsSync(join(scratch, "model-00002-of-00002.safetensors")));
  const index = JSON.parse(readFileSync(join(scratch, "model.safetensors.index.json"), "utf8"));
  assert.equal(index.metadata.total_size, 120);
  const weights = await openHubWeights(scratch);
  assert.deepEqual([...weights.names].sort(), ["a", "b", "c"]);
  assert.equal(weights.readFloat32("c")[9], 3);
  weights.close();
});

test("an export goes over an export or into an empty folder, not among other files", async () => {
  const out = join(scratch, "mine");
  mkdirSync(out);
  writeFileSync(join(out, "README.md"), "my own");
  await assert.rejects(exported(tiny, "hf", "mine"), /holds other files \(README.md, …\); name a new/);
  await assert.rejects(exported(tiny, "hf", "mine/README.md"), /is a file, a folder is needed/);
  await assert.rejects(main([tiny, "--format", "hf", "--out="]), /--out is empty/);
  assert.equal(readFileSync(join(out, "README.md"), "utf8"), "my own");
});

test("hf: an export may go into the folder that the model came from", async () => {
  const folder = await exported(tiny, "hf", "again");
  writeFileSync(join(folder, "special_tokens_map.json"), "{}");
  const before = await weightsOf(folder);
  await exported(folder, "hf", "again");
  assert.deepEqual(await weightsOf(folder), before);
  assert.equal(readFileSync(join(folder, "special_tokens_map.json"), "utf8"), "{}");
});

test("a missing or unknown format is an error that lists the formats", async () => {
  await assert.rejects(main([tiny]), /--format hf\|audiocraft\|safetensors/);
  await assert.rejects(main([tiny, "--format", "onnx"]), /--format onnx: use hf, audiocraft, safetensors/);
});
