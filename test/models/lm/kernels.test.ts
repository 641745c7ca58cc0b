/** Generation's own ops: each gives what the composition of TensorFlow's ops gives that stands in for it elsewhere. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  type CachePlace,
  cachedAttention,
  KeyValueCache,
  packedRotation,
  stepAttention,
} from "../../../src/models/lm/cached_attention.ts";
import { RotaryEmbedding } from "../../../src/models/lm/rope.ts";
import { type SamplingOptions, sampleToken } from "../../../src/models/lm/sampling.ts";
import { configureRuntime, jit, type Tensor, tf } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";

after(() => configureRuntime({ kernels: true }));

const normal = (shape: number[], seed: number, deviation = 1) =>
  tf.randomNormal(shape, 0, deviation, "float32", seed) as Tensor;

/** What `f` gives with our own ops and without. */
function both<T>(f: () => T): [own: T, composed: T] {
  return [true, false].map((kernels) => {
    configureRuntime({ kernels });
    return f();
  }) as [T, T];
}

for (const [name, heads, kvHeads, headDim, rotates, pastContext] of [
  ["heads of 64", 2, 2, 64, false, null],
  ["heads of 24, shared keys, rotated", 6, 2, 24, true, null],
  ["heads of 4, a short past", 4, 4, 4, false, 3],
] as const) {
  test(`steps after a filled cache attend to all before them: ${name}`, () => {
    const [batch, filled, steps] = [3, 5, 9];
    const rope = new RotaryEmbedding(headDim, { maxPeriod: 10000, xpos: true, scale: 1 });
    const [own, composed] = both(() => {
      const cache = new KeyValueCache({ layers: 1, batch, kvHeads, capacity: 20, headDim });
      const shape = [batch, kvHeads, filled, headDim];
      cache.fill([{ keys: normal(shape, 1), values: normal(shape, 2) }]);
      const step = jit((packed: Tensor, position: Tensor) => {
        const rotation = rotates ? packedRotation(rope.rotations(position.toFloat().reshape([1]))) : null;
        const place: CachePlace = { position, rotation, pastContext };
        return cachedAttention(packed, cache.layers[0], place);
      });
      const outputs = Array.from({ length: steps }, (_, i) => {
        const packed = normal([batch, 1, (heads + 2 * kvHeads) * headDim], 3 + i, 2);
        return [...step(packed, tf.scalar(filled + i, "int32")).dataSync()];
      });
      cache.release();
      return outputs.flat();
    });
    assert.ok(composed.every(Number.isFinite));
    close(own, composed, 1e-5);
  });
}

test("a step beyond the cache's end is refused", () => {
  configureRuntime({ kernels: true });
  const cache = new KeyValueCache({ layers: 1, batch: 1, kvHeads: 1, capacity: 4, headDim: 8 });
  const place = { position: tf.scalar(4, "int32") as Tensor, rotation: null, pastContext: null };
  assert.throws(
    () => cachedAttention(tf.zeros([1, 1, 24]), cache.layers[0], place).dataSync(),
    /beyond the end/,
  );
});

test("a step attends to a source with a bias of its own, a shared one, or none", () => {
  const [batch, heads, length, headDim] = [2, 3, 11, 8];
  const keys = normal([batch, heads, length, headDim], 1);
  const values = normal([batch, heads, length, headDim], 2);
  const queries = normal([batch, 1, heads * headDim], 3, 3);
  const hidden = (rows: number) =>
    tf.mul(tf.less(normal([rows, 1, 1, length], 4), 0.3).toFloat(), -1e9) as Tensor;
  for (const bias of [null, hidden(1), hidden(batch)]) {
    const [own, composed] = both(() => stepAttention(queries, { keys, values }, bias).dataSync());
    close(own, composed, 1e-5);
  }
});

test("the same tokens are drawn, whatever the temperature, top_k and top_p", () => {
  const logits = normal([2, 4, 300], 1, 3);
  const cases: Partial<SamplingOptions>[] = [
    {},
    { temp: 0.7 },
    { top_k: 1 },
    { top_k: 25, temp: 1.5 },
    { top_k: 300 },
    { top_p: 0.1 },
    { top_p: 0.9, temp: 2 },
    { top_p: 1 },
  ];
  for (const options of cases) {
    for (const seed of [1, 2, 3, 4, 5]) {
      const seeds = tf.tensor2d([seed, 7, seed + 1, 9], [2, 2], "int32") as Tensor;
      const all = { use_sampling: true, temp: 1, top_k: 0, top_p: 0, ...options };
      const [own, composed] = both(() => [...sampleToken(logits, all, seeds).dataSync()]);
      assert.deepEqual(own, composed, JSON.stringify(options));
    }
  }
});

test("tokens as likely as the k-th stay in the draw", () => {
  configureRuntime({ kernels: true });
  const logits = tf.tensor2d([5, 1, 5, 5, 0, 5], [1, 6]) as Tensor;
  const drawn = Array.from({ length: 60 }, (_, seed) => {
    const seeds = tf.tensor2d([seed, 0], [1, 2], "int32") as Tensor;
    return sampleToken(logits, { use_sampling: true, temp: 1, top_k: 2, top_p: 0 }, seeds).dataSync()[0];
  });
  assert.deepEqual([...new Set(drawn)].sort(), [0, 2, 3, 5]);
});
