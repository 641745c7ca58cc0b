/** Codecs by the names that configs give them; stereo by interleaving. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { writeSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { writeTorchArchive } from "../../../src/checkpoint/torch/write.ts";
import { UserError } from "../../../src/errors.ts";
import { type CompressionModel, InterleaveStereoCompressionModel } from "../../../src/models/compression.ts";
import { EncodecCompressionModel } from "../../../src/models/encodec/compression.ts";
import { loadCompressionModel } from "../../../src/models/encodec/load.ts";
import { EncodecModel } from "../../../src/models/encodec/pretrained.ts";
import { hfName } from "../../../src/models/encodec/weights.ts";
import { type Tensor, tf } from "../../../src/runtime/index.ts";
import { assertClose, configOf, golden, goldenModel, goldenWeights } from "./golden.ts";

const scratch = mkdtempSync(join(tmpdir(), "encodec-"));
test.after(() => rmSync(scratch, { recursive: true }));

async function write(path: string, rename: (name: string) => string, metadata: Record<string, string> = {}) {
  const weights = goldenWeights("causal");
  const tensors = weights.names.map((name) => ({
    name: rename(name),
    dtype: "F32" as const,
    shape: weights.shape(name),
    data: () => weights.readFloat32(name),
  }));
  await writeSafetensors(path, tensors, metadata);
}

async function assertRefused(spec: string, message: RegExp) {
  await assert.rejects(
    loadCompressionModel(spec),
    (error) => error instanceof UserError && message.test(error.message),
  );
}

test("a folder of Hugging Face's layout is a codec", async () => {
  await write(join(scratch, "model.safetensors"), (name) => hfName(name, false));
  const { seanet, encodec, rvq } = configOf("causal");
  const config = {
    model_type: "encodec",
    audio_channels: 1,
    codebook_size: rvq.bins,
    hidden_size: seanet.dimension,
    num_filters: seanet.n_filters,
    pad_mode: "constant",
    sampling_rate: encodec.sample_rate,
    target_bandwidths: [0.5],
    upsampling_ratios: seanet.ratios,
    use_causal_conv: true,
    use_conv_shortcut: false,
  };
  writeFileSync(join(scratch, "config.json"), JSON.stringify(config));
  const codec = await loadCompressionModel(scratch);
  const { codes, scale } = codec.encode(golden("wav"));
  assert.deepEqual(codes.arraySync(), golden("causal.codes").arraySync());
  assert.equal(scale, null);
  writeFileSync(join(scratch, "config.json"), JSON.stringify({ model_type: "t5" }));
  await assertRefused(scratch, /type "t5", not an EnCodec/);
});

test("a file with its config in its metadata is a codec", async () => {
  const path = join(scratch, "codec.safetensors");
  await write(path, (name) => name, { config: JSON.stringify(configOf("causal")) });
  const codec = await loadCompressionModel(path);
  const decoded = codec.decode(golden("causal.codes"));
  assertClose(tf.split(decoded, 2)[0], golden("causal.decode_first"), 5e-6);
  await write(path, (name) => name);
  await assertRefused(path, /does not say in its metadata/);
});

/** A checkpoint of a run that trains a codec, of which the best state is the golden one. */
async function writeRun(doraDir: string, sig: string): Promise<void> {
  const folder = join(doraDir, "xps", sig);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, ".argv.json"), "[]");
  const weights = goldenWeights("causal");
  const tensors = weights.names.flatMap((name) => [
    {
      name: `best_state.model.${name}`,
      dtype: "F32" as const,
      shape: weights.shape(name),
      data: () => weights.readFloat32(name),
    },
    {
      name: `model.${name}`,
      dtype: "F32" as const,
      shape: weights.shape(name),
      data: () => weights.readFloat32(name).fill(0),
    },
  ]);
  const config = { solver: "compression", compression_model: "encodec", ...configOf("causal") };
  await writeSafetensors(join(folder, "checkpoint.safetensors"), tensors, {
    "xp.cfg": JSON.stringify(config),
  });
}

test("//sig/ is the best state of a run that trained a codec; so are its folder and its checkpoint file", async () => {
  const doraDir = join(scratch, "runs");
  await writeRun(doraDir, "abcd1234");
  const folder = join(doraDir, "xps", "abcd1234");
  for (const spec of ["//sig/abcd1234", folder, join(folder, "checkpoint.safetensors")]) {
    const codec = await loadCompressionModel(spec, { doraDir });
    assert.deepEqual(codec.encode(golden("wav")).codes.arraySync(), golden("causal.codes").arraySync());
  }
});

test("AudioCraft's export of a codec is one, as a file and in a folder; a pointer leads to the codec it names", async () => {
  const folder = join(scratch, "exported");
  mkdirSync(folder);
  const path = join(folder, "compression_state_dict.bin");
  const weights = goldenWeights("causal");
  const tensors = weights.names.map((name) => [
    name,
    { dtype: "F32" as const, shape: weights.shape(name), data: () => weights.readFloat32(name) },
  ]);
  const yaml = JSON.stringify({ compression_model: "encodec", ...configOf("causal") });
  await writeTorchArchive(path, {
    best_state: Object.fromEntries(tensors),
    "xp.cfg": yaml,
    version: "1.3.0",
    exported: true,
  });
  for (const spec of [path, folder]) {
    const codec = await loadCompressionModel(spec);
    assert.deepEqual(codec.encode(golden("wav")).codes.arraySync(), golden("causal.codes").arraySync());
  }
  await writeTorchArchive(path, { pretrained: "debug_compression_model", exported: true, version: "1.3.0" });
  assert.equal((await loadCompressionModel(path)).cardinality, 400);
});

test("EncodecModel takes and gives arrays: as many codebooks as asked for, as many samples as there were", async () => {
  const model = await EncodecModel.fromPretrained("//embedded/encodec_tiny_16khz");
  const tone = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i / 5));
  const audio = [[tone], [tone.map((x) => x / 2)]];
  const all = model.encode(audio);
  assert.deepEqual(all.shape, [2, 4, 4]);
  const decoded = model.decode(all);
  assert.deepEqual([decoded.length, decoded[0].length, decoded[0][0].length], [2, 1, 1000]);
  const two = model.encode(audio, { bandwidth: 1 }); // 2 x 10 bits x 50 a second
  assert.deepEqual(two, model.encode(audio, { numCodebooks: 2 }));
  assert.deepEqual([...two.codes.slice(0, 8)], [...all.codes.slice(0, 8)]);
  const silenced = [[tone.map((x, i) => (i < 300 ? x : 0))], audio[1]];
  assert.deepEqual(model.encode(audio, { lengths: [300, 1000] }).codes, model.encode(silenced).codes);
  const decoder = model.streamingDecoder(2, null, 2);
  const pushed = decoder.push(two.codes);
  const rest = decoder.flush();
  const streamed = [...pushed[1][0], ...rest[1][0]].slice(0, 1000);
  assertClose(tf.tensor1d(streamed), tf.tensor1d(model.decode(two)[1][0]), 1e-5);
  assert.equal(model.codec.numCodebooks, 4);
  assert.throws(() => model.encode(audio, { bandwidth: 3 }), /6 codebooks.*has 4/);
  assert.throws(() => model.encode([[tone, tone]]), /2 channels/);
});

test("the embedded codec: 16 kHz mono, 50 frames a second, 4 codebooks of 1024", async () => {
  const codec = await loadCompressionModel("//embedded/encodec_tiny_16khz");
  assert.deepEqual(
    [codec.sampleRate, codec.channels, codec.frameRate, codec.numCodebooks, codec.cardinality],
    [16000, 1, 50, 4, 1024],
  );
  const wav = tf.sin(tf.mul(tf.range(0, 16000), (2 * Math.PI * 440) / 16000)).reshape([1, 1, 16000]);
  const { codes } = codec.encode(wav);
  assert.deepEqual(codes.shape, [1, 4, 50]);
  assert.ok(new Set(codes.dataSync()).size > 4, "a tone takes different codes");
  assert.deepEqual(codec.decode(codes).shape, [1, 1, 16000]);
});

test("the debug codec is the same every time, and codes noise with many entries of every codebook", async () => {
  const codecs = [16000, 32000].map((sampleRate) =>
    loadCompressionModel("//pretrained/debug_compression_model", { sampleRate }),
  );
  for (const [i, codec] of (await Promise.all(codecs)).entries()) {
    assert.equal(codec.sampleRate, [16000, 32000][i]);
    assert.deepEqual([codec.frameRate, codec.numCodebooks, codec.cardinality], [25, 4, 400]);
  }
  const [first, second] = [
    await codecs[1],
    await loadCompressionModel("//pretrained/debug_compression_model"),
  ];
  const wav = tf.randomUniform([1, 1, 64000], -1, 1, "float32", 5);
  const codes = first.encode(wav).codes;
  assert.deepEqual(codes.arraySync(), second.encode(wav).codes.arraySync());
  for (const layer of tf.unstack(codes, 1)) {
    assert.ok(new Set(layer.dataSync()).size > 15, `${new Set(layer.dataSync()).size} entries for 50 frames`);
  }
});

test("what can't be had is refused by name", async () => {
  await assertRefused("//sig/ffffffff", /no experiment 'ffffffff'/);
  await assertRefused("//pretrained/dac_44khz", /\/\/pretrained\/dac_44khz: DAC codecs are not built/);
  await assertRefused("//embedded/nothing", /no embedded model nothing; there are .*encodec_tiny_16khz/);
  await assertRefused("//elsewhere/x", /elsewhere/);
  await assertRefused(join(scratch, "missing.safetensors"), /no file/);
});

test("fewer codebooks can be used, not more than there are; jitted code follows", () => {
  const codec = new EncodecCompressionModel(goldenModel("causal"));
  assert.equal(codec.encode(golden("wav")).codes.shape[1], 2);
  codec.setNumCodebooks(1);
  assert.equal(codec.numCodebooks, 1);
  assert.equal(codec.encode(golden("wav")).codes.shape[1], 1);
  assert.throws(() => codec.setNumCodebooks(3), UserError);
});

for (const perTimestep of [false, true]) {
  test(`stereo interleaved over ${perTimestep ? "time steps: L, R, L, R" : "codebooks: 1L, 1R, 2L, 2R"}`, () => {
    const mono = new EncodecCompressionModel(goldenModel("renorm_reflect"));
    const stereo: CompressionModel = new InterleaveStereoCompressionModel(mono, perTimestep);
    assert.deepEqual(
      [stereo.channels, stereo.frameRate, stereo.numCodebooks],
      perTimestep ? [2, 100, 2] : [2, 50, 4],
    );
    const wav = golden("wav"); // two mono clips: left and right
    const { codes, scale } = stereo.encode(wav.reshape([1, 2, -1]));
    const apart = mono.encode(wav);
    const [left, right] = apart.codes.arraySync() as number[][][];
    const expected = perTimestep
      ? left.map((row, k) => row.flatMap((code, t) => [code, right[k][t]]))
      : left.flatMap((row, k) => [row, right[k]]);
    assert.deepEqual(codes.arraySync(), [expected]);
    assert.deepEqual([...scale!.dataSync()], [...apart.scale!.dataSync()]);
    const decoded = stereo.decode(codes, scale);
    assertClose(decoded.squeeze([0]) as Tensor, mono.decode(apart.codes, apart.scale).squeeze([1]), 1e-6);
    const latents = mono.decodeLatent(apart.codes);
    assertClose(stereo.decodeLatent(codes).reshape(latents.shape), latents, 1e-6);
  });
}

test("stereo by interleaving needs a mono codec", () => {
  const mono = new EncodecCompressionModel(goldenModel("causal"));
  assert.throws(
    () => new InterleaveStereoCompressionModel(new InterleaveStereoCompressionModel(mono)),
    UserError,
  );
});
