/** Residual vector quantization. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { initializeCodebooks } from "../../../src/models/encodec/kmeans.ts";
import { nearest, ResidualVectorQuantizer } from "../../../src/models/encodec/quantizer.ts";
import { generatorSampler } from "../../../src/models/encodec/vector_sampler.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { TorchGenerator } from "../../../src/random/mt19937.ts";
import { configureRuntime, type Tensor, tf } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";

function quantizer(...codebooks: number[][][]): ResidualVectorQuantizer {
  const [[{ length: dimension }]] = codebooks;
  const { length: bins } = codebooks[0];
  const made = new ResidualVectorQuantizer(
    { dimension, bins, codebooks: codebooks.length, kmeansInit: true },
    new InitializerStream(0),
  );
  for (const [k, vectors] of codebooks.entries()) made.codebooks[k].setVectors(tf.tensor2d(vectors));
  return made;
}

test("each codebook answers what the ones before it left over; decoding sums the answers", () => {
  const rvq = quantizer([[0], [10], [20]], [[-1], [0], [2]]);
  const latents = tf.tensor3d([[[9], [12.1], [20]]]);
  const codes = rvq.encode(latents, 2);
  assert.deepEqual(codes.arraySync(), [
    [
      [1, 1, 2],
      [0, 2, 1],
    ],
  ]);
  assert.equal(codes.dtype, "int32");
  assert.deepEqual(rvq.decode(codes).arraySync(), [[[9], [12], [20]]]);
  assert.deepEqual(rvq.encode(latents, 1).arraySync(), [[[1, 1, 2]]]);
});

test("of equally near entries the first is taken", () => {
  const rvq = quantizer([[3], [1], [-1], [1]]);
  assert.deepEqual(rvq.encode(tf.tensor3d([[[0], [1]]]), 1).arraySync(), [[[1, 1]]]);
});

test("in training the gradient goes straight through: exactly 1, whatever was chosen", () => {
  const rvq = quantizer([[0], [10]], [[-1], [1]]);
  const latents = tf.tensor3d([[[3], [7], [8.5]]]);
  const gradient = tf.grad((x: Tensor) => tf.sum(rvq.forward(x).quantized) as never)(latents);
  assert.deepEqual(gradient.arraySync(), [[[1], [1], [1]]]);
});

test("the commitment penalty is the mean over codebooks of the squared rest, and pulls towards the answer", () => {
  const rvq = quantizer([[0], [10]], [[-1], [1]]);
  const latents = tf.tensor3d([[[3], [7]]]);
  // rests after the first codebook: 3 and -3; after the second: 2 and -2
  close(rvq.forward(latents).penalty.dataSync(), [(9 + 4) / 2], 1e-6);
  const gradient = tf.grad((x: Tensor) => rvq.forward(x).penalty as never)(latents);
  close(gradient.dataSync(), [(3 + 2) / 2, -(3 + 2) / 2], 1e-6);
});

test("k-means finds separate clusters, and leaves no entry unused", () => {
  const centres = [-5, -1, 2, 6];
  const points = Array.from({ length: 80 }, (_, i) => [centres[i % 4] + ((i * 37) % 11) / 100]);
  const rvq = quantizer([[0], [0], [0], [0]]);
  const sample = generatorSampler(new TorchGenerator(7));
  initializeCodebooks(rvq, tf.tensor2d(points), { iterations: 20, sample, refill: true });
  const found = [...rvq.codebooks[0].embed.read()].sort((a, b) => a - b);
  close(found, [-4.95, -0.95, 2.05, 6.05], 0.01);
});

for (const [count, bins, dimension] of [
  [1, 7, 3],
  [50, 300, 40],
  [13, 33, 300],
]) {
  test(`by our own op, ${count} vectors of ${dimension} are given the nearest of ${bins} entries`, () => {
    const vectors = tf.randomNormal([count, dimension], 0, 1, "float32", 1) as Tensor;
    const entries = tf.randomNormal([bins, dimension], 0, 1, "float32", 2) as Tensor;
    const found = nearest(vectors, entries).arraySync() as number[];
    const [points, table] = [vectors.arraySync(), entries.arraySync()] as number[][][];
    const distance = (n: number, entry: number) =>
      points[n].reduce((sum, value, i) => sum + (value - table[entry][i]) ** 2, 0);
    for (const [n, index] of found.entries()) {
      const least = Math.min(...table.map((_, entry) => distance(n, entry)));
      assert.ok(distance(n, index) <= least * (1 + 1e-6), `vector ${n}: entry ${index} is not the nearest`);
    }
  });
}

test("of entries that are equally near in float32 the first is taken, as the original does, with and without our own op", () => {
  // |x|^2 = 2^24 leaves no digits for the difference: both are at 2^24 - 8192 + 1, though the second is nearer
  const [vector, entries] = [tf.tensor2d([[4096]]), tf.tensor2d([[1], [1 + 2 ** -15]])] as Tensor[];
  for (const kernels of [true, false]) {
    configureRuntime({ kernels });
    try {
      assert.deepEqual(nearest(vector, entries).arraySync(), [0], `kernels: ${kernels}`);
    } finally {
      configureRuntime({ kernels: true });
    }
  }
});
