/** How codebooks learn: k-means, moving averages, dead entries, dropout of codebooks. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { initializeCodebooks, kmeans } from "../../../src/models/encodec/kmeans.ts";
import { ResidualVectorQuantizer } from "../../../src/models/encodec/quantizer.ts";
import { seededSampler } from "../../../src/models/encodec/vector_sampler.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { jit, type Tensor, tf } from "../../../src/runtime/index.ts";
import { maxDifference, mismatches } from "../../../src/verify/compare.ts";
import { close } from "../../close.ts";
import { goldenFile, goldenTensor } from "../../losses/codec_golden.ts";

const noSample = (vectors: Tensor) => vectors;

function quantizer(bins: number, dimension: number, codebooks: number): ResidualVectorQuantizer {
  return new ResidualVectorQuantizer(
    { bins, dimension, codebooks, kmeansInit: true },
    new InitializerStream(0),
  );
}

test("k-means from given means ends with AudioCraft's means and counts", () => {
  const file = goldenFile("kmeans");
  const { means, counts } = kmeans(goldenTensor(file, "samples"), goldenTensor(file, "init_means"), 10);
  assert.ok(maxDifference(means.dataSync(), file.readFloat32("means")) < 1e-6);
  assert.equal(mismatches(counts.dataSync(), file.read("bins") as Int32Array), 0);
});

test("two jitted steps after k-means: codes, penalty and statistics are AudioCraft's", () => {
  const file = goldenFile("quantizer");
  const read = (name: string) => goldenTensor(file, name);
  const rvq = quantizer(64, 32, 4);
  const latents = tf.transpose(read("latents"), [0, 2, 1]) as Tensor;
  const sample = (_: Tensor, __: number, k: number) => read(`sample_vectors.${k}`);
  initializeCodebooks(rvq, latents.reshape([-1, 32]), { iterations: 10, sample, sums: "entries" });
  const learning = { decay: 0.99, deadThreshold: 0, sample: noSample };
  const step = jit((x: Tensor) => {
    const { codes, penalty } = rvq.forward(x, { learning });
    return { codes, penalty };
  });
  for (const number of [1, 2]) {
    const { codes, penalty } = step(latents);
    assert.equal(mismatches(codes.dataSync(), read(`step${number}.codes`).dataSync()), 0);
    close(penalty.dataSync(), read(`step${number}.penalty`).dataSync(), 1e-7);
    for (const [name, parameter] of rvq.namedParameters()) {
      const golden = `step${number}.quantizer.${name}`;
      if (!file.names.includes(golden)) continue;
      assert.ok(maxDifference(parameter.read(), file.readFloat32(golden)) < 1e-5, golden);
    }
  }
});

test("sums that start as sums keep the entries where k-means put them; AudioCraft's start divides them by their counts", () => {
  const points = tf.tensor2d([[1], [1], [1], [5]]);
  const after = (sums: "vectors" | "entries") => {
    const rvq = quantizer(2, 1, 1);
    const sample = () => tf.tensor2d([[1], [5]]) as Tensor;
    initializeCodebooks(rvq, points, { iterations: 2, sample, sums });
    const learning = { decay: 0.9, deadThreshold: 0, sample };
    rvq.forward(points.reshape([1, 4, 1]), { learning });
    return rvq.codebooks[0].embed.read();
  };
  close(after("vectors"), [1, 5], 1e-4);
  close(after("entries"), [(0.9 * 1 + 0.1 * 3) / 3, 5], 1e-4);
});

test("a dead entry starts again as a vector of the batch, counted as often as the threshold says", () => {
  const rvq = quantizer(3, 1, 1);
  const [codebook] = rvq.codebooks;
  codebook.setVectors(tf.tensor2d([[0], [10], [20]]), {
    counts: tf.tensor1d([4, 1.9, 4]),
    sums: tf.tensor2d([[0], [19], [80]]),
  });
  const sample = () => tf.tensor2d([[7], [8], [9]]) as Tensor;
  rvq.forward(tf.tensor3d([[[0], [20]]]), { learning: { decay: 0.9, deadThreshold: 2, sample } });
  close(codebook.clusterSize.read(), [3.7, 1.8, 3.7], 1e-6);
  close(codebook.embed.read(), [0, 8, 20], 1e-3);
});

test("codebooks beyond the drawn number neither answer nor move nor count in the penalty", () => {
  const rvq = quantizer(2, 1, 2);
  for (const codebook of rvq.codebooks) {
    codebook.setVectors(tf.tensor2d([[-1], [1]]), {
      counts: tf.tensor1d([5, 5]),
      sums: tf.tensor2d([[-5], [5]]),
    });
  }
  const before = rvq.codebooks.map(({ embed }) => embed.read().slice());
  const learning = { decay: 0.9, deadThreshold: 0, sample: noSample };
  const codebooks = tf.scalar(1, "int32");
  const { quantized, penalty } = rvq.forward(tf.tensor3d([[[1.5], [3]]]), { codebooks, learning });
  close(quantized.dataSync(), [1, 1], 0);
  close(penalty.dataSync(), [(0.25 + 4) / 2], 1e-6);
  assert.notDeepEqual(rvq.codebooks[0].embed.read(), before[0]);
  assert.deepEqual(rvq.codebooks[1].embed.read(), before[1]);
});

test("orthogonality is 0 for orthogonal entries, and counts only the chosen ones if asked", () => {
  const penaltyOf = (vectors: number[][], activeOnly: boolean) => {
    const rvq = quantizer(vectors.length, 2, 1);
    rvq.codebooks[0].setVectors(tf.tensor2d(vectors));
    const latents = tf.tensor3d([[vectors[0], vectors[1]]]); // no commitment penalty
    return rvq.forward(latents, { orthogonal: { weight: 2, activeOnly } }).penalty.dataSync();
  };
  close(
    penaltyOf(
      [
        [3, 0],
        [0, 2],
      ],
      false,
    ),
    [0],
    1e-6,
  );
  close(
    penaltyOf(
      [
        [3, 0],
        [0, 2],
        [0, 7],
      ],
      false,
    ),
    [(2 * 2) / 9],
    1e-6,
  );
  close(
    penaltyOf(
      [
        [3, 0],
        [0, 2],
        [0, 7],
      ],
      true,
    ),
    [0],
    1e-6,
  );
});

test("samples are different vectors of the batch, the same for the same seed and codebook", () => {
  const vectors = tf.range(0, 50).reshape([50, 1]) as Tensor;
  const draw = (seed: number, codebook: number) =>
    seededSampler(tf.tensor1d([seed, 1], "int32"))(vectors, 20, codebook).dataSync();
  assert.equal(new Set(draw(1, 0)).size, 20);
  assert.deepEqual(draw(1, 0), draw(1, 0));
  assert.notDeepEqual(draw(1, 0), draw(1, 1));
  assert.notDeepEqual(draw(1, 0), draw(2, 0));
  const few = seededSampler(tf.tensor1d([1, 1], "int32"))(vectors, 80, 0).dataSync();
  assert.ok(few.every((value) => value >= 0 && value < 50));
});
