/** The separation of stems around a model: chunks, their overlap, and what is refused. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openStemSeparator, StemModelSeparator } from "../../../src/models/conditioners/stems.ts";

const chunk = 343980;

/** Stems that are the mix times 8 (drums), 4 (bass), 0.5 (other) and 0.25 (vocals), and how often it was asked. */
function model() {
  const calls: number[] = [];
  const separator = new StemModelSeparator("fake", async (stereo) => {
    calls.push(stereo.length);
    const stems = new Float32Array(4 * stereo.length);
    for (const [stem, gain] of [8, 4, 0.5, 0.25].entries()) {
      stems.set(
        stereo.map((value) => gain * value),
        stem * stereo.length,
      );
    }
    return stems;
  });
  return { separator, calls };
}

const noise = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * i * 1e-7) / 2);

for (const [what, length, chunks] of [
  ["shorter than a chunk", 1000, 1],
  ["as long as a chunk", chunk, 1],
  ["of three overlapping chunks", 2 * chunk + 1000, 3],
] as const) {
  test(`a mix ${what} comes back as other + vocals, without seams`, async () => {
    const { separator, calls } = model();
    const mix = noise(length);
    const melody = await separator.melody(mix, 44100);
    assert.deepEqual(calls, Array(chunks).fill(2 * chunk));
    assert.equal(melody.length, length);
    assert.ok(melody.every((value, i) => Math.abs(value - 0.75 * mix[i]) < 1e-6));
  });
}

test("a mix at another rate goes there and back, as long as it was", async () => {
  const mix = Float32Array.from({ length: 16001 }, (_, i) => Math.sin(i / 20));
  const melody = await model().separator.melody(mix, 32000);
  assert.equal(melody.length, mix.length);
  const inside = melody.subarray(1000, 15000);
  assert.ok(inside.every((value, i) => Math.abs(value - 0.75 * mix[1000 + i]) < 1e-2));
});

test("a model that returns something else is refused, by its file", async () => {
  const separator = new StemModelSeparator("other.onnx", async (stereo) => stereo);
  await assert.rejects(separator.melody(noise(10), 44100), {
    name: "UserError",
    message: /stem_separator=other\.onnx: it returns 687960 values for a chunk/,
  });
});

test("a missing file and one of another kind are refused; a runtime that is not installed is named", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "stems-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "model.onnx");
  await assert.rejects(openStemSeparator(file), { name: "UserError", message: /no such file/ });
  await assert.rejects(openStemSeparator("model.th"), { name: "UserError", message: /an ONNX file/ });
  writeFileSync(file, "no model");
  await assert.rejects(openStemSeparator(file), {
    name: "UserError",
    message: /needs the package onnxruntime-node|cannot be opened/,
  });
});
