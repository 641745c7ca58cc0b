/** Checks a differentiable function of tensors against a plain function of double-precision arrays. */
import assert from "node:assert/strict";
import { type Tensor, tf } from "../../../src/runtime/index.ts";

/**
 * Draws inputs of the given shapes, and asserts that `f` has the values of `reference`, and that the gradients of
 * sum(weights * f) for drawn weights are `reference`'s central differences, all within 1e-5 of the largest value.
 */
export function assertGradients(
  f: (...inputs: Tensor[]) => Tensor,
  reference: (inputs: Float64Array[]) => Float64Array,
  shapes: number[][],
): void {
  const inputs = shapes.map((shape, i) => draw(size(shape), i + 1));
  const expected = reference(inputs);
  const weights = draw(expected.length, 99);
  const tensors = inputs.map((values, i) => tf.tensor(Float32Array.from(values), shapes[i]));
  const value = f(...tensors);
  assertNear(value.dataSync(), expected, "value");
  const w = tf.tensor(Float32Array.from(weights), value.shape);
  const gradients = tf.grads((...args: Tensor[]) => tf.sum(tf.mul(f(...args), w)) as never)(tensors);
  const loss = () => reference(inputs).reduce((sum, y, i) => sum + y * weights[i], 0);
  for (const [i, input] of inputs.entries()) {
    const differences = Float64Array.from(input, (before, j) => {
      const step = 1e-4;
      input[j] = before + step;
      const above = loss();
      input[j] = before - step;
      const below = loss();
      input[j] = before;
      return (above - below) / (2 * step);
    });
    assertNear(gradients[i].dataSync(), differences, `gradient of input ${i}`);
  }
}

function assertNear(actual: ArrayLike<number>, expected: Float64Array, what: string): void {
  assert.equal(actual.length, expected.length, what);
  const scale = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  assert.ok(scale > 0.1, `${what} is trivial`);
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i] - expected[i]);
    assert.ok(difference <= 1e-5 * scale, `${what} [${i}]: ${actual[i]} instead of ${expected[i]}`);
  }
}

/** Values within +-1, exact in float32, always the same for a seed. */
function draw(count: number, seed: number): Float64Array {
  let state = seed * 7919;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 16) / 32768 - 1;
  });
}

function size(shape: number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}
