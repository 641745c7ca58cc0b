/** Chroma cosine similarity against AudioCraft's ChromaCosineSimilarityMetric (chroma_cosine.py). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChromaCosineSimilarity } from "../../src/metrics/chroma_cosine.ts";

const RATE = 8000;

/** Half a second of each frequency, with an octave above it. */
function tones(...frequencies: number[]): Float32Array[] {
  const { sin, PI } = Math;
  const wav = Float32Array.from({ length: RATE }, (_, i) => {
    const [t, f] = [i / RATE, frequencies[Math.floor((2 * i) / RATE)]];
    return sin(2 * PI * f * t) * 0.5 + sin(4 * PI * f * t) * 0.2;
  });
  return [wav];
}

const pairs = [
  { generated: tones(440, 660), reference: tones(440, 523.25), length: 8000 },
  { generated: tones(262, 330), reference: tones(294, 330), length: 5200 },
].map((pair) => ({ ...pair, sampleRate: RATE, description: null }));

for (const [argmax, expected] of [
  [true, 0.3962264060974121],
  [false, 0.42062637209892273],
] as const) {
  test(`two clips, one with padding, have AudioCraft's value to 1e-5 (argmax=${argmax})`, async () => {
    const metric = new ChromaCosineSimilarity({ sampleRate: RATE, nChroma: 12, radix2Exp: 10, argmax });
    for (const pair of pairs) await metric.update(pair);
    const { chroma_cosine } = metric.compute();
    assert.ok(Math.abs(chroma_cosine - expected) < 1e-5, `${chroma_cosine}`);
    metric.dispose();
  });
}

test("audio at another rate is resampled first, and its true length counts at the chroma's rate", async () => {
  const metric = new ChromaCosineSimilarity({ sampleRate: 4000, nChroma: 12, radix2Exp: 9, argmax: true });
  const [clip] = [tones(440, 660)];
  await metric.update({ ...pairs[0], generated: clip, reference: clip });
  // 4000 samples, a frame every 128
  assert.deepEqual(metric.compute(), { chroma_cosine: 1 });
  assert.equal((metric as unknown as { frames: number }).frames, Math.ceil(4000 / 128));
  metric.dispose();
});

test("without audio there is no value, and that is said", () => {
  const metric = new ChromaCosineSimilarity({ sampleRate: RATE, nChroma: 12, radix2Exp: 10, argmax: true });
  assert.throws(() => metric.compute(), /chroma_cosine: there was no audio/);
});
