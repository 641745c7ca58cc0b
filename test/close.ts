import assert from "node:assert/strict";

/** Asserts |actual - expected| <= tolerance max(1, |expected|), value by value. */
export function close(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs(actual[i] - expected[i]);
    assert.ok(
      difference <= tolerance * Math.max(1, Math.abs(expected[i])),
      `[${i}] ${actual[i]} instead of ${expected[i]}: off by ${difference}`,
    );
  }
}
