/** Half precision: every value survives the way through float32, and rounding is to nearest, ties to even. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
} from "../../src/checkpoint/dtypes.ts";

const everyPattern = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** The finite non-negative patterns of a 16-bit format, in order: consecutive patterns are consecutive numbers. */
const finite = (infinity: number) => everyPattern.subarray(0, infinity);

const formats = [
  { name: "float16", decode: float16ToFloat32, encode: float32ToFloat16, infinity: 0x7c00 },
  { name: "bfloat16", decode: bfloat16ToFloat32, encode: float32ToBfloat16, infinity: 0x7f80 },
];

for (const { name, decode, encode, infinity } of formats) {
  test(`${name}: each of the 65536 patterns comes back from float32, NaNs as NaN`, () => {
    const values = decode(everyPattern);
    const patterns = encode(values);
    for (const [pattern, value] of values.entries()) {
      if (Number.isNaN(value)) assert.ok((patterns[pattern] & 0x7fff) > infinity);
      else assert.equal(patterns[pattern], pattern);
    }
  });

  test(`${name}: halfway between two neighbours goes to the even one, beside it to the nearer`, () => {
    const values = decode(finite(infinity));
    const middles = values.slice(1).map((value, i) => values[i] / 2 + value / 2);
    const tie = encode(middles);
    const below = encode(Float32Array.from(middles, (middle) => middle * (1 - 2 ** -22)));
    const above = encode(Float32Array.from(middles, (middle) => middle * (1 + 2 ** -22)));
    // the middle of the two smallest bfloat16 subnormals is a float32 subnormal: relative steps do not reach beside it
    for (let i = name === "bfloat16" ? 128 : 0; i < middles.length; i++) {
      assert.equal(tie[i], i % 2 === 0 ? i : i + 1);
      assert.equal(below[i], i);
      assert.equal(above[i], i + 1);
    }
  });
}

test("float16: what rounds beyond 65504 is infinite, what rounds below 2^-24 is zero", () => {
  const values = Float32Array.of(65519.99, 65520, -1e30, 2 ** -25, -(2 ** -25) * 1.001, -0);
  assert.deepEqual([...float32ToFloat16(values)], [0x7bff, 0x7c00, 0xfc00, 0, 0x8001, 0x8000]);
});

test("known constants have their known patterns", () => {
  assert.deepEqual([...float32ToFloat16(Float32Array.of(1, -2, Math.PI))], [0x3c00, 0xc000, 0x4248]);
  assert.deepEqual([...float32ToBfloat16(Float32Array.of(1, -2, Math.PI))], [0x3f80, 0xc000, 0x4049]);
});
