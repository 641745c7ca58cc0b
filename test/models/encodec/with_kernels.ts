/** A differentiable function by our own ops against the same composed of TensorFlow's. */
import assert from "node:assert/strict";
import { configureRuntime, type Tensor, tf } from "../../../src/runtime/index.ts";

/** The same random numbers for the same seed. */
export function normal(shape: number[], seed: number): Tensor {
  return tf.randomNormal(shape, 0, 1, "float32", seed) as Tensor;
}

/** Asserts that `f`'s value, and the gradients of its product with random weights, are the same with and without kernels. */
export function assertSameWithKernels(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: Tensor[],
  what: string,
): void {
  const [ours, theirs] = [true, false].map((kernels) => {
    configureRuntime({ kernels });
    try {
      const value = f(...inputs);
      const weights = normal(value.shape, 99);
      return [
        value,
        ...tf.grads((...args: Tensor[]) => tf.sum(tf.mul(f(...args), weights)) as never)(inputs),
      ];
    } finally {
      configureRuntime({ kernels: true });
    }
  });
  for (const [i, actual] of ours.entries()) {
    const name = `${what}: ${i === 0 ? "value" : `gradient ${i - 1}`}`;
    assert.deepEqual(actual.shape, theirs[i].shape, name);
    const scale = tf.max(tf.abs(theirs[i])).dataSync()[0];
    const difference = tf.max(tf.abs(tf.sub(actual, theirs[i]))).dataSync()[0];
    assert.ok(scale > 0, `${name} is zero`);
    assert.ok(difference <= 1e-5 * scale, `${name}: off by ${difference} of ${scale}`);
  }
}
