/** Resampling, channel conversion and level normalisation against AudioCraft's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { convertChannels } from "../../src/data/audio/channels.ts";
import { integratedLoudness } from "../../src/data/audio/loudness.ts";
import { normalizeAudio } from "../../src/data/audio/normalize.ts";
import { resample } from "../../src/data/audio/resample.ts";
import { toInt16 } from "../../src/data/audio/write_wav.ts";
import { golden, maxDifference } from "./files.ts";

const RESAMPLE = golden("resample.safetensors");
for (const name of Object.keys(RESAMPLE).filter((key) => key.includes("out"))) {
  const [, from, to] = /(\d+)_(\d+)$/.exec(name)!.map(Number);
  test(`resampling ${name} equals julius to 2e-6`, () => {
    const short = name.startsWith("short");
    const input = short ? RESAMPLE.short_in : RESAMPLE[`in_${from}`];
    const output = resample(input, from, to);
    assert.equal(output[0].length, Math.floor((to * input[0].length) / from));
    // Long signals were cut: their ends are not the peer's ends.
    assert.ok(maxDifference(output, RESAMPLE[name], { prefix: !short }) < 2e-6);
  });
}

test("resampling a constant gives the constant, edges included", () => {
  const [output] = resample([new Float32Array(500).fill(0.5)], 44100, 32000);
  assert.ok(output.every((x) => Math.abs(x - 0.5) < 1e-6));
});

test("resampling to the same rate gives the samples back, and of nothing gives nothing", () => {
  const samples = [Float32Array.of(1, 2, 3)];
  assert.equal(resample(samples, 8000, 8000), samples);
  assert.equal(resample([new Float32Array(0)], 8000, 16000)[0].length, 0);
});

const CHANNELS = golden("channels.safetensors");
for (const name of Object.keys(CHANNELS).filter((key) => /^(mono|stereo|quad)_to_\d$/.test(key))) {
  test(`channel conversion ${name} equals the peer's exactly`, () => {
    const [from, to] = name.split("_to_");
    assert.equal(maxDifference(convertChannels(CHANNELS[from], Number(to)), CHANNELS[name]), 0);
  });
}

test("two channels cannot become four", () => {
  assert.throws(() => convertChannels(CHANNELS.stereo, 4), RangeError);
});

for (const [name, channels] of [
  ["conv_out_32000_mono", 1],
  ["conv_out_32000_stereo", 2],
] as const) {
  test(`channels first, then the rate, equals the peer's ${name}`, () => {
    const converted = resample(convertChannels(CHANNELS.conv_in_44100_stereo, channels), 44100, 32000);
    assert.ok(maxDifference(converted, CHANNELS[name], { prefix: true }) < 2e-6);
  });
}

const NORMALIZE = golden("normalize.safetensors");
/** The golden outputs keep every 101st sample. */
const sparse = (samples: Float32Array[]) => samples.map((channel) => channel.filter((_, i) => i % 101 === 0));

for (const signal of ["loud", "quiet", "silent"]) {
  const input = NORMALIZE[`in_${signal}`];
  for (const strategy of ["peak", "clip", "rms", "loudness"] as const)
    test(`normalising the ${signal} signal by ${strategy} equals the peer's to 1e-5`, () => {
      const output = normalizeAudio(input, 32000, { strategy });
      assert.ok(maxDifference(sparse(output), NORMALIZE[`${signal}_${strategy}`]) < 1e-5);
    });
  for (const strategy of ["peak", "rms"] as const)
    test(`normalize=false only reduces the ${signal} signal by ${strategy}, as the peer does`, () => {
      const output = normalizeAudio(input, 32000, { strategy, normalize: false });
      assert.ok(maxDifference(sparse(output), NORMALIZE[`${signal}_${strategy}_nonorm`]) < 1e-5);
    });
  test(`the loudness compressor on the ${signal} signal equals the peer's to 1e-5`, () => {
    const output = normalizeAudio(input, 32000, { strategy: "loudness", loudnessCompressor: true });
    assert.ok(maxDifference(sparse(output), NORMALIZE[`${signal}_loudness_compressor`]) < 1e-5);
  });
  test(`the loudness of the ${signal} signal equals the peer's to 0.01 dB`, () => {
    assert.ok(Math.abs(integratedLoudness(input, 32000) - NORMALIZE[`${signal}_lufs`][0][0]) < 1e-2);
  });
  test(`16-bit samples of the ${signal} signal equal the peer's exactly`, () => {
    const interleaved = toInt16(input);
    const planar = input.map((_, c) =>
      Float32Array.from(interleaved.filter((_value, i) => i % input.length === c)),
    );
    assert.equal(maxDifference(sparse(planar), NORMALIZE[`${signal}_i16`]), 0);
  });
}

test("normalising changes a copy, and keeps true silence silent", () => {
  for (const strategy of ["peak", "clip", "rms", "loudness", "none"] as const) {
    const silence = [new Float32Array(32000)];
    const output = normalizeAudio(silence, 32000, { strategy });
    assert.notEqual(output[0], silence[0]);
    assert.ok(
      output[0].every((x) => x === 0),
      strategy,
    );
  }
});

test("a sound shorter than loudness is defined for is brought to the level of its repetition", () => {
  const tone = (seconds: number) => [
    Float32Array.from({ length: seconds * 8000 }, (_, i) => 0.1 * Math.sin((2 * Math.PI * i) / 8)),
  ];
  const [short, long] = [0.1, 2].map(
    (seconds) => normalizeAudio(tone(seconds), 8000, { strategy: "loudness" })[0],
  );
  assert.ok(Math.abs(short[2] / long[2] - 1) < 0.05, `${short[2]} ${long[2]}`);
  const silent = [Float32Array.from({ length: 100 }, () => 0.01)]; // 0 Hz: below every gate
  assert.ok(normalizeAudio(silent, 8000, { strategy: "loudness" })[0].every(Number.isFinite));
});
