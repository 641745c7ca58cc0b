/**
 * Residual vector quantization of a condition, with codebooks that learn: in training, every step moves them towards the
 * vectors that chose them (arXiv 1711.00937, appendix A.1), inside of the jitted step and without gradients.
 */
import { gatherRows, segmentSum, withGradient } from "../../nn/index.ts";
import type { TorchGenerator } from "../../random/mt19937.ts";
import { attr, autocast, runOp, type Tensor, tf } from "../../runtime/index.ts";
import { fitCodebooks } from "../encodec/kmeans.ts";
import type { EuclideanCodebook, ResidualVectorQuantizer } from "../encodec/quantizer.ts";

export interface CodebookLearning {
  /** How much of the statistics stays from step to step. */
  decay: number;
  /** Entries with a smaller average number of vectors become random vectors of the batch. */
  deadThreshold: number;
}

/** What a step draws for it. */
export interface QuantizerDraws {
  /** int32 scalar: how many codebooks take part. */
  codebooks: Tensor;
  /** int32 [2] */
  seed: Tensor;
}

const EPSILON = 1e-5;

/**
 * latents [B, T, D] -> the sums of what the first `codebooks` (int32 scalar) codebooks answer; the gradient goes straight
 * through. With `learning`, the codebooks that take part are moved.
 */
export function quantize(
  quantizer: ResidualVectorQuantizer,
  latents: Tensor,
  { codebooks, seed }: Pick<QuantizerDraws, "codebooks"> & Partial<QuantizerDraws>,
  learning: CodebookLearning | null = null,
): Tensor {
  const [batch, frames, dimension] = latents.shape;
  const value = (x: Tensor): Tensor => {
    const rows = x.reshape([batch * frames, dimension]);
    let residual = rows;
    for (const [k, codebook] of quantizer.codebooks.entries()) {
      const takesPart = tf.greater(codebooks, k).toFloat() as Tensor;
      const indices = codebook.encode(residual);
      const rest = tf.sub(residual, tf.mul(codebook.decode(indices), takesPart)) as Tensor;
      if (learning !== null) {
        const samples = gatherRows(residual, randomRows(seed!, k, batch * frames, quantizer.bins));
        learn(codebook, { vectors: residual, indices, samples, takesPart }, learning);
      }
      residual = rest;
    }
    return tf.sub(rows, residual).reshape(latents.shape);
  };
  // distances decide between neighbours: they are not for 16 bits
  return autocast(null, () =>
    withGradient([latents], ([x]) => ({ value: value(x), gradFunc: (dy) => tf.clone(dy) })),
  );
}

/**
 * Makes the codebooks by k-means of latents [N, D], each of what those before it leave over. The averages start as if each
 * vector had been seen once.
 */
export function initializeCodebooks(
  quantizer: ResidualVectorQuantizer,
  latents: Tensor,
  iterations: number,
  random: TorchGenerator,
): void {
  tf.tidy(() => {
    fitCodebooks(quantizer, latents, { iterations, random, restart: true });
    let residual = latents;
    for (const codebook of quantizer.codebooks) {
      const indices = codebook.encode(residual);
      const counts = segmentSum(tf.ones([latents.shape[0], 1]), indices, quantizer.bins);
      codebook.clusterSize.assign(counts.reshape([quantizer.bins]));
      codebook.embedAvg.assign(tf.mul(codebook.embed.value, counts));
      residual = tf.sub(residual, codebook.decode(indices));
    }
  });
}

/** Whether the codebooks are data already. */
export function isInitialized(quantizer: ResidualVectorQuantizer): boolean {
  return quantizer.codebooks.every(({ inited }) => inited.read()[0] > 0);
}

interface Assignment {
  /** [N, D], and the entry that each chose [N] */
  vectors: Tensor;
  indices: Tensor;
  /** Random ones of the vectors [bins, D] */
  samples: Tensor;
  /** float32 scalar: 1, or 0 where all stays as it is. */
  takesPart: Tensor;
}

/**
 * The moving averages of how many vectors chose an entry and of their sum; an entry is their quotient, with counts that are
 * smoothed so that none is zero. A dead entry starts again as a random vector with the count of the threshold.
 */
function learn(
  { clusterSize, embed, embedAvg }: EuclideanCodebook,
  { vectors, indices, samples, takesPart }: Assignment,
  { decay, deadThreshold }: CodebookLearning,
): void {
  const [bins, dimension] = embed.shape;
  const isDead = tf.less(clusterSize.value, deadThreshold);
  const sizesBefore = tf.where(isDead, tf.fill([bins], deadThreshold), clusterSize.value);
  const sumsBefore = tf.where(
    tf.tile(isDead.expandDims(1), [1, dimension]),
    tf.mul(samples, deadThreshold),
    embedAvg.value,
  );
  const moved = (before: Tensor, now: Tensor) =>
    tf.add(tf.mul(before, decay), tf.mul(now, 1 - decay)) as Tensor;
  const counts = segmentSum(tf.ones([vectors.shape[0], 1]), indices, bins);
  const sizes = moved(sizesBefore, counts.reshape([bins]));
  const sums = moved(sumsBefore, segmentSum(vectors, indices, bins));
  const total = tf.sum(sizes);
  const smoothed = tf.mul(tf.div(tf.add(sizes, EPSILON), tf.add(total, bins * EPSILON)), total);
  const updates = [
    [clusterSize, sizes],
    [embedAvg, sums],
    [embed, tf.div(sums, smoothed.expandDims(1))],
  ] as const;
  for (const [variable, value] of updates) {
    const change = tf.mul(takesPart, tf.sub(value, variable.value));
    variable.assign(tf.add(variable.value, change));
  }
}

/** `count` numbers of rows, int32, each below `rows`; a stream for each codebook. */
function randomRows(seed: Tensor, codebook: number, rows: number, count: number): Tensor {
  const attrs = { dtype: attr.type("float32"), T: attr.type("int32"), Tseed: attr.type("int32") };
  const stream = tf.add(seed, tf.tensor1d([0, codebook], "int32")).toInt() as Tensor;
  const [u] = runOp("StatelessRandomUniform", [tf.tensor1d([count], "int32"), stream], attrs);
  return tf.minimum(tf.floor(tf.mul(u, rows)), rows - 1).toInt();
}
