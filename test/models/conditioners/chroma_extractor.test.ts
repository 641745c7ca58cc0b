/** Chromagrams against AudioCraft's and transformers' (test/golden/audio/chroma.safetensors). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { chromaBank } from "../../../src/models/conditioners/chroma_bank.ts";
import { ChromaExtractor } from "../../../src/models/conditioners/chroma_extractor.ts";
import { tf } from "../../../src/runtime/index.ts";

const golden = openSafetensors(new URL("../../golden/audio/chroma.safetensors", import.meta.url).pathname);
const wav = golden.readFloat32("wav");
const settings = { sampleRate: 32000, nChroma: 12 };

test("the filter bank equals librosa's to 1e-6", () => {
  closeTo(chromaBank(32000, 4096, 12), golden.readFloat32("fbanks_r12"), 1e-6);
});

for (const [name, radix2Exp] of [
  ["r12", 12],
  ["r14_noargmax", 14],
] as const) {
  test(`chroma with windows of 2^${radix2Exp} samples equals the original's to 1e-4`, () => {
    const extractor = new ChromaExtractor({ ...settings, radix2Exp, argmax: false });
    closeTo(extractor.extract(wav), golden.readFloat32(`chroma_${name}`), 1e-4);
    extractor.dispose();
  });
}

for (const [name, radix2Exp] of [
  ["r12_argmax", 12],
  ["musicgen_melody", 14],
] as const) {
  test(`${name}: the strongest class of every frame is the original's, exactly`, () => {
    const extractor = new ChromaExtractor({ ...settings, radix2Exp, argmax: true });
    closeTo(extractor.extract(wav), golden.readFloat32(`chroma_${name}`), 0);
    extractor.dispose();
  });
}

test("a waveform shorter than a window is padded to one, and silence is what it says it is", () => {
  for (const argmax of [false, true]) {
    const extractor = new ChromaExtractor({ ...settings, radix2Exp: 12, argmax });
    const silent = extractor.extract(new Float32Array(1));
    assert.equal(silent.length, 5 * 12);
    assert.deepEqual(silent, extractor.silence(extractor.frames(1)));
    if (!argmax) closeTo(silent, golden.readFloat32("chroma_null_wav_r12"), 0);
    extractor.dispose();
  }
});

test("more frames than go through at once join without a seam", () => {
  const extractor = new ChromaExtractor({ ...settings, radix2Exp: 8, argmax: false });
  const whole = extractor.extract(wav);
  const tail = extractor.extract(wav.subarray(64 * 200));
  // away from the ends, where the reflection differs
  closeTo(whole.subarray(210 * 12, 300 * 12), tail.subarray(10 * 12, 100 * 12), 1e-6);
  extractor.dispose();
});

test("extracting leaks no tensors", () => {
  const extractor = new ChromaExtractor({ ...settings, radix2Exp: 10, argmax: true });
  extractor.extract(wav);
  const before = tf.memory().numTensors;
  extractor.extract(wav);
  assert.equal(tf.memory().numTensors, before);
});

test("a window longer than the transform is refused", () => {
  assert.throws(() => new ChromaExtractor({ ...settings, radix2Exp: 12, argmax: true, nfft: 2048 }), {
    name: "UserError",
  });
});

function closeTo(actual: Float32Array, expected: Float32Array, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  let worst = 0;
  for (let i = 0; i < actual.length; i++) worst = Math.max(worst, Math.abs(actual[i] - expected[i]));
  assert.ok(worst <= tolerance, `differs by ${worst}`);
}
