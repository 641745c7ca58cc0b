/** The divergence of what a classifier hears (AudioCraft's kl_divergence: chroma_cosine.py). */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type AudioClassifier,
  KLDivergence,
  klDivergence,
  softmax,
} from "../../src/metrics/kl_divergence.ts";

const near = (actual: number, expected: number, tolerance = 1e-6) =>
  assert.ok(Math.abs(actual - expected) < tolerance, `${actual} is not ${expected}`);

test("zeros in what is predicted cost the logarithm of 1e-6, zeros in the target nothing: AudioCraft's values", () => {
  const p = [0.7, 0.2, 0.1, 0];
  const q = [0.1, 0, 0.6, 0.3];
  near(klDivergence(p, q), 4.663919925689697, 1e-5);
  near(klDivergence(q, p), 3.624168872833252, 1e-5);
});

test("softmax of large logits is finite and sums to 1", () => {
  const probabilities = softmax([1000, 1000, 0]);
  assert.deepEqual([...probabilities], [0.5, 0.5, 0]);
});

/** Hears the first sample: it is the first class's probability. */
class FirstSample implements AudioClassifier {
  readonly sampleRate = 100;
  readonly maxSamples = 50;
  readonly lengths: number[] = [];
  async classify(wav: Float32Array): Promise<Float32Array> {
    this.lengths.push(wav.length);
    return Float32Array.of(wav[0], 1 - wav[0]);
  }
  dispose(): void {}
}

const constant = (value: number, length: number) => [new Float32Array(length).fill(value)];
const pair = { sampleRate: 100, description: null };

test("kld is that of the reference from the prediction, kld_qp the reverse, kld_both their sum; means over pieces", async () => {
  const metric = new KLDivergence(new FirstSample());
  await metric.update({ ...pair, generated: constant(0.5, 40), reference: constant(0.25, 40), length: 40 });
  await metric.update({ ...pair, generated: constant(0.5, 40), reference: constant(0.5, 40), length: 40 });
  const { kld, kld_pq, kld_qp, kld_both } = metric.compute();
  near(kld, (0.25 * Math.log(0.25 / 0.5) + 0.75 * Math.log(0.75 / 0.5)) / 2, 5e-6);
  near(kld_qp, (0.5 * Math.log(0.5 / 0.25) + 0.5 * Math.log(0.5 / 0.75)) / 2, 5e-6);
  assert.equal(kld_pq, kld);
  near(kld_both, kld + kld_qp);
});

test("padding is cut off, long clips are heard in pieces, and a rest of 0.15 s or less is not heard", async () => {
  const classifier = new FirstSample();
  const metric = new KLDivergence(classifier);
  const clip = constant(0.5, 200);
  await metric.update({ ...pair, generated: clip, reference: clip, length: 115 });
  await metric.update({ ...pair, generated: clip, reference: clip, length: 66 });
  assert.deepEqual(classifier.lengths, [50, 50, 50, 50, 50, 16, 50, 16]);
});

test("clips that are too short leave nothing to say", async () => {
  const metric = new KLDivergence(new FirstSample());
  const clip = constant(0.5, 15);
  await metric.update({ ...pair, generated: clip, reference: clip, length: 15 });
  assert.throws(() => metric.compute(), /no clip is longer than 0.15 s/);
});
