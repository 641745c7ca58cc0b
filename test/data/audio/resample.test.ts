/** Resampling by vectors against the formula computed plainly, for rates and lengths that stress its blocks and edges. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { resample } from "../../../src/data/audio/resample.ts";

/** Weights are rounded to float32 on the way, as julius does; a tap in the wrong place would show at 1e-2. */
const PRECISION = 1e-4;

/** julius' resample_frac in double precision, one output sample at a time. */
function plain(input: Float32Array, oldRate: number, newRate: number, at: number): number {
  const divisor = gcd(oldRate, newRate);
  const [old, phases] = [oldRate / divisor, newRate / divisor];
  const rate = Math.min(old, phases) * 0.945;
  const width = Math.ceil((24 * old) / rate);
  const [frame, phase] = [Math.floor(at / phases), at % phases];
  let total = 0;
  let weights = 0;
  for (let j = -width; j < width + old; j++) {
    const t = Math.PI * Math.max(-24, Math.min(24, (-phase / phases + j / old) * rate));
    const weight = (t === 0 ? 1 : Math.sin(t) / t) * Math.cos(t / 48) ** 2;
    weights += weight;
    total += weight * input[Math.max(0, Math.min(input.length - 1, frame * old + j))];
  }
  return total / weights;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

const noise = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i * i * 0.7));

const CASES: [number, number, number][] = [
  [44100, 32000, 100_000],
  [32000, 44100, 30_000],
  [48000, 32000, 60_001],
  [16000, 48000, 12_345],
  [8000, 32000, 1],
  [44100, 32000, 2],
  [22050, 32000, 440],
  [96000, 32000, 200_000],
  [1009, 1000, 5000],
  [32000, 100, 64_000],
];
for (const [from, to, length] of CASES)
  test(`${length} samples from ${from} to ${to} Hz equal the plain formula, at the edges and in between`, () => {
    const input = noise(length);
    const [output] = resample([input], from, to);
    assert.equal(output.length, Math.floor((to * length) / from));
    const places = new Set<number>();
    for (let i = 0; i < 20; i++)
      for (const at of [i, output.length - 1 - i, Math.floor((output.length * i) / 20), 16384 - 10 + i])
        if (at >= 0 && at < output.length) places.add(at);
    assert.ok(places.size > 0);
    for (const at of places)
      assert.ok(Math.abs(output[at] - plain(input, from, to, at)) < PRECISION, `sample ${at}`);
  });

test("kernels of other rates in between, and longer signals, change nothing", () => {
  const input = noise(5000);
  const before = resample([input], 44100, 32000);
  resample([noise(300_000)], 48000, 44100);
  resample([noise(10)], 8000, 11025);
  assert.deepEqual(resample([input], 44100, 32000), before);
});

test("rates whose kernel would fill memory are refused", () => {
  assert.throws(() => resample([noise(10)], 999_983, 32000), RangeError);
});
