/** Weights that are folded once for coding. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EncodecCompressionModel } from "../../../src/models/encodec/compression.ts";
import { debugEncodec } from "../../../src/models/encodec/debug.ts";
import { jit, tf } from "../../../src/runtime/index.ts";

for (const where of ["outside", "inside of a jitted function"]) {
  test(`a weight that is changed ${where} changes what the codec decodes next`, () => {
    const network = debugEncodec(32000);
    const codec = new EncodecCompressionModel(network);
    const codes = tf.zeros([1, network.totalCodebooks, 3], "int32");
    const decoded = () => codec.decode(codes).dataSync();
    const before = decoded();
    assert.deepEqual(decoded(), before);
    const double = () => {
      for (const weight of network.parameters()) weight.assign(tf.mul(weight.value, 1.5));
      return tf.scalar(0);
    };
    if (where === "outside") tf.tidy(() => void double());
    else jit(double)();
    const after = decoded();
    const expected = network.decode(codes).dataSync();
    assert.notDeepEqual(after, before);
    for (const [i, value] of expected.entries()) assert.ok(Math.abs(value - after[i]) < 1e-5, `sample ${i}`);
    codec.dispose();
  });
}
