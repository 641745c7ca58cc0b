import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { vggishExamples } from "../../src/metrics/vggish.ts";
import { close } from "../close.ts";

const golden: { examples: number; values: number[][] } = JSON.parse(
  readFileSync(new URL("./vggish.json", import.meta.url), "utf8"),
);

test("examples of a clip equal torchaudio's to 1e-4 (vggish.py); the rest is dropped", () => {
  const wav = Float32Array.from(
    { length: 36000 },
    (_, i) => 0.5 * Math.sin(i * i * 2e-5) + 0.1 * Math.sin(i * 0.3),
  );
  const examples = vggishExamples(wav);
  assert.equal(examples.length, golden.examples);
  for (const [i, example] of examples.entries()) {
    close(
      example.filter((_, j) => j % 509 === 0),
      Float32Array.from(golden.values[i]),
      1e-4,
    );
  }
});

test("a clip shorter than an example is filled up: silence is log 0.01", () => {
  const examples = vggishExamples(new Float32Array(100));
  assert.equal(examples.length, 1);
  close([examples[0][0], examples[0][96 * 64 - 1]], [Math.log(0.01), Math.log(0.01)], 1e-6);
});
