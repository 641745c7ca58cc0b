/** The mel distance that the embedded codec is fitted by. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MelDistance } from "../../../src/models/encodec/mel_distance.ts";
import { type Scalar, type Tensor, tf } from "../../../src/runtime/index.ts";

const mel = new MelDistance(16000);
const noise = (seed: number) => tf.randomNormal([2, 4096], 0, 0.1, "float32", seed);

test("a wave is at distance 0 from itself, and half as loud at most log 2 + a half away", () => {
  const wave = noise(1);
  assert.equal(mel.distance(wave, wave).dataSync()[0], 0);
  const [half] = mel.distance(tf.mul(wave, 0.5), wave).dataSync();
  assert.ok(half > 0.5 * Math.LN2 + 0.45 && half < Math.LN2 + 0.5, `${half}`);
});

test("the gradient is the slope along any direction", () => {
  const [wave, target, direction] = [noise(1), noise(2), noise(3)];
  const gradient = tf.grad((x: Tensor) => mel.distance(x, target) as Scalar)(wave);
  const [slope] = tf.sum(tf.mul(gradient, direction)).dataSync();
  const at = (step: number) => mel.distance(tf.add(wave, tf.mul(direction, step)), target).dataSync()[0];
  const difference = (at(3e-4) - at(-3e-4)) / 6e-4;
  assert.ok(Math.abs(slope - difference) < 0.02 * Math.abs(difference), `${slope} instead of ${difference}`);
});
