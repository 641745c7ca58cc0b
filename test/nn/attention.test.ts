/** The kernels of attention and of rotations against the same of TensorFlow's ops. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { RotaryEmbedding, rotateProjection } from "../../src/models/lm/rope.ts";
import {
  attention,
  maskedScore,
  type ProjectedAttentionOptions,
  projectedAttention,
} from "../../src/nn/index.ts";
import { autocast, configureRuntime, jit, type Tensor, tf } from "../../src/runtime/index.ts";
import { close } from "../close.ts";

const noise = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, "float32", seed) as Tensor;

/** f of the inputs and its gradients with all of them, with and without kernels: equal relative to the largest value. */
function sameAsComposition(f: (...inputs: Tensor[]) => Tensor, inputs: Tensor[], tolerance = 1e-5): void {
  const all = (...given: Tensor[]): Tensor[] => {
    const weighted = (...x: Tensor[]) => {
      const y = f(...x);
      return tf.sum(tf.mul(y, noise(y.shape as number[], 99))) as never;
    };
    return [f(...given), ...(tf.grads(weighted as never)(given as never) as unknown as Tensor[])];
  };
  const eager = all(...inputs);
  const fused = jit(all, { mode: "graph" })(...inputs);
  configureRuntime({ kernels: false });
  try {
    for (const [i, expected] of all(...inputs).entries()) {
      // sums of terms of about 1 that are zero by the mathematics leave their rounding
      const size = Math.max(1, tf.max(tf.abs(expected)).dataSync()[0]);
      close(tf.div(fused[i], size).dataSync(), tf.div(expected, size).dataSync(), tolerance);
      close(tf.div(eager[i], size).dataSync(), tf.div(expected, size).dataSync(), tolerance);
    }
  } finally {
    configureRuntime({ kernels: true });
  }
}

const cases: [name: string, shapes: number[][], options: ProjectedAttentionOptions][] = [
  ["causal, longer than a block", [[2, 131, 3 * 128]], { heads: 2, causal: true }],
  ["one tile of one vector, a head dimension of 5", [[1, 6, 3 * 10]], { heads: 2 }],
  ["few steps back", [[1, 150, 3 * 32]], { heads: 1, causal: true, pastContext: 37 }],
  ["only its own step", [[1, 20, 3 * 32]], { heads: 1, causal: true, pastContext: 0, scale: 0.7 }],
  ["heads that share keys", [[2, 50, 96 + 2 * 32]], { heads: 6, kvHeads: 2, causal: true }],
  ["a source of 32", [[2, 70, 64], [2, 32, 128]], { heads: 2 }], // biome-ignore format: one case
  ["more keys than causal queries", [[1, 30, 64], [1, 101, 64], [1, 101, 64]], { heads: 2, causal: true }], // biome-ignore format: one case
];
for (const [name, shapes, options] of cases) {
  test(`attention by kernels is that of TensorFlow's ops, values and gradients: ${name}`, () => {
    const inputs = shapes.map((shape, i) => noise(shape, i + 1));
    sameAsComposition((...projections) => projectedAttention(projections, options), inputs);
  });
}

test("a mask of its own for every row hides keys, and a row without any key sees all", () => {
  const hidden = [[0, 0, 0, 1, 1], [1, 1, 1, 1, 1]].map((row) => row.map((x) => x * maskedScore)); // biome-ignore format: rows
  const mask = tf.tensor4d(hidden.flat(), [2, 1, 1, 5]) as Tensor;
  const inputs = [noise([2, 7, 16], 1), noise([2, 5, 32], 2)];
  sameAsComposition((q, kv) => projectedAttention([q, kv], { heads: 2, mask }), inputs);
});

for (const shape of [
  [1, 1, 1, 40],
  [1, 3, 30, 40],
  [2, 1, 30, 1],
  [2, 3, 1, 40],
  [2, 3, 30, 40],
]) {
  // biome-ignore format: one line
  test(`a bias [${shape}] is added to the scores and gets a gradient`, () => {
    const inputs = [[2, 3, 30, 8], [2, 3, 40, 8], [2, 3, 40, 8], shape].map((s, i) => noise(s, i + 1)); // biome-ignore format: one line
    sameAsComposition((q, k, v, bias) => attention(q, k, v, bias, { scale: 1 }), inputs);
  });
}

test("scores of hundreds stay finite, and far lower ones have no weight", () => {
  const x = tf.mul(noise([1, 64, 3 * 16], 1), 30) as Tensor;
  const attend = (y: Tensor) => projectedAttention([y], { heads: 1, causal: true });
  const values = attend(x).dataSync();
  const gradient = tf
    .grad(((y: Tensor) => tf.sum(attend(y))) as never)(x)
    .dataSync();
  assert.ok(gradient.every(Number.isFinite));
  configureRuntime({ kernels: false });
  close(values, attend(x).dataSync(), 1e-4);
  configureRuntime({ kernels: true });
});

test("under bfloat16 queries, keys and values are rounded, with as_float32 they are not", () => {
  const x = noise([1, 40, 3 * 32], 1);
  const rounded = x.dataSync().map(toBfloat16);
  const run = (input: Tensor, asFloat32: boolean) =>
    autocast("bfloat16", () => projectedAttention([input], { heads: 2, asFloat32 })).dataSync();
  const ofRounded = run(tf.tensor(rounded, x.shape) as Tensor, true);
  assert.deepEqual(run(x, false), ofRounded);
  assert.notDeepEqual(run(x, true), ofRounded);
});

test("rotations by a kernel are those of TensorFlow's ops, and leave what is behind the heads", () => {
  const rope = new RotaryEmbedding(8, { maxPeriod: 100, xpos: true, scale: 0.5 });
  const rotations = rope.rotations(tf.range(3, 14, 1, "float32"));
  const x = noise([2, 11, 8 * (4 + 2 + 2)], 1);
  sameAsComposition((y) => rotateProjection(y, rotations, { heads: 4, kvHeads: 2 }), [x]);
  const behind = (y: Tensor) => tf.slice(y, [0, 0, 48], [-1, -1, -1]).dataSync();
  assert.deepEqual(behind(rotateProjection(x, rotations, { heads: 4, kvHeads: 2 })), behind(x));
});

function toBfloat16(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  bits[0] = (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0];
}
