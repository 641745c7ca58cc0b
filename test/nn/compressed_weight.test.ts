/** Weights in fewer bits: what they are rounded to, that all uses agree on it, and that the float32 ones are gone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { InitializerStream, Linear, linearWith, Parameter } from "../../src/nn/index.ts";
import { configureRuntime, jit, type Tensor, tf } from "../../src/runtime/index.ts";
import type { JitMode } from "../../src/runtime/options.ts";
import { close } from "../close.ts";

const matrix = (shape: [number, number], seed: number) =>
  tf.randomNormal(shape, 0, 1, "float32", seed) as Tensor;

test("bfloat16 keeps 8 bits of each number, int8 the nearest of 255 levels of each row", () => {
  const values = Float32Array.of(1, 1.0009765625, -3.14159274, 0.001, 127, 1, -63.4, 0);
  const [sixteen, eight] = (["bfloat16", "int8"] as const).map((type) => {
    const parameter = new Parameter([2, 4], () => tf.tensor2d(values, [2, 4]));
    parameter.compress(type);
    return [...parameter.read()];
  });
  close(sixteen, [1, 1, -3.140625, 0.00099945068, 127, 1, -63.5, 0], 1e-7);
  const step = 3.14159274 / 127;
  close(eight, [40 * step, 40 * step, -127 * step, 0, 127, 1, -63, 0], 1e-6);
});

for (const mode of ["none", "graph", "xla"] as JitMode[]) {
  for (const kernels of [true, false]) {
    test(`products with compressed weights are those with what they are rounded to (${mode}, kernels ${kernels})`, () => {
      configureRuntime({ kernels });
      try {
        for (const type of ["bfloat16", "int8"] as const) {
          const layer = new Linear(24, 10, new InitializerStream(1));
          layer.weight.compress(type);
          for (const rows of [1, 2, 40]) {
            const x = matrix([rows, 24], rows).reshape([rows, 1, 24]) as Tensor;
            const f = jit((x: Tensor) => [layer.forward(x), linearWith(x, layer.weight, layer.bias, 3, 5)], {
              mode,
            });
            const [whole, part] = f(x);
            const expected = tf.add(
              tf.matMul(x.reshape([rows, 24]), layer.weight.value as never, false, true),
              layer.bias!.value,
            );
            assert.deepEqual(whole.shape, [rows, 1, 10]);
            close(whole.dataSync(), expected.dataSync(), 1e-5);
            close(part.dataSync(), expected.slice([0, 3], [rows, 5]).dataSync(), 1e-5);
          }
        }
      } finally {
        configureRuntime({ kernels: true });
      }
    });
  }
}

test("a parameter that is loaded after compress holds the new values, and only those", () => {
  const parameter = new Parameter([2, 2], () => tf.zeros([2, 2]));
  parameter.compress("int8");
  const tensors = tf.memory().numTensors;
  parameter.load(Float32Array.of(127, 1, 2, 254));
  close(parameter.read(), [127, 1, 2, 254], 1e-6);
  parameter.load(Float32Array.of(1, 127, -254, 2));
  close(parameter.read(), [1, 127, -254, 2], 1e-6);
  assert.equal(parameter.exists, false);
  assert.equal(tf.memory().numTensors, tensors);
});
