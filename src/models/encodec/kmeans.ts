/** K-means for codebooks: Lloyd's iterations over latents, one codebook after the other on what is left over. */
import { segmentSum } from "../../nn/index.ts";
import { jit, type Tensor, tf } from "../../runtime/index.ts";
import { nearest, type ResidualVectorQuantizer } from "./quantizer.ts";
import type { VectorSampler } from "./vector_sampler.ts";

export interface KMeansOptions {
  iterations: number;
  /** Picks the vectors that a codebook starts from. */
  sample: VectorSampler;
  /** Entries that nobody chose become other samples; otherwise, as in AudioCraft, they stay. */
  refill?: boolean;
  /**
   * What the sums that training moves start from: those of the vectors that chose an entry, as if each had been seen once; or,
   * as in AudioCraft, the entry itself, so that the first update divides it by its count.
   */
  sums?: "vectors" | "entries";
}

/** Makes every codebook of `quantizer` by k-means of latents [N, D], each of what those before it leave over. */
export function initializeCodebooks(
  quantizer: ResidualVectorQuantizer,
  latents: Tensor,
  { iterations, sample, refill = false, sums = "vectors" }: KMeansOptions,
): void {
  tf.tidy(() => {
    let residual = latents;
    for (const [k, codebook] of quantizer.codebooks.entries()) {
      const draw = () => sample(residual, quantizer.bins, k);
      const { means, counts } = kmeans(residual, draw(), iterations, refill ? draw : null);
      const moving = sums === "entries" ? means : tf.mul(means, counts.expandDims(1));
      codebook.setVectors(means, { counts, sums: moving });
      residual = tf.sub(residual, codebook.decode(codebook.encode(residual)));
    }
  });
}

/** Whether the codebooks are data already. */
export function isInitialized(quantizer: ResidualVectorQuantizer): boolean {
  return quantizer.codebooks.every(({ inited }) => inited.read()[0] > 0);
}

/**
 * vectors [N, D], start [bins, D] -> means [bins, D], and counts [bins] of the vectors that each mean was last made of. A mean
 * of nothing stays, or becomes a row of what `refill` draws.
 */
export function kmeans(
  vectors: Tensor,
  start: Tensor,
  iterations: number,
  refill: (() => Tensor) | null = null,
): { means: Tensor; counts: Tensor } {
  const [bins] = start.shape;
  let means = start;
  let counts: Tensor = tf.zeros([bins]);
  for (let i = 0; i < iterations; i++) {
    [means, counts] = tf.tidy(() => {
      const { centres, sizes } = assign(vectors, means);
      const rest = refill === null ? means : refill();
      return [tf.where(tf.greater(sizes, 0), centres, rest) as Tensor, sizes.reshape([bins])];
    });
  }
  return { means, counts };
}

/**
 * The centres [bins, D] of the vectors nearest to each mean, and how many these are, [bins, 1]. As one graph: op by op, the
 * distances of all pairs would be held several times.
 */
const assign = jit(
  (vectors: Tensor, means: Tensor) => {
    const [bins] = means.shape;
    const indices = nearestMean(vectors, means);
    const sizes = segmentSum(tf.ones([vectors.shape[0], 1]), indices, bins);
    const centres = tf.div(segmentSum(vectors, indices, bins), tf.maximum(sizes, 1)) as Tensor;
    return { centres, sizes };
  },
  { name: "kmeans_iteration" },
);

/**
 * Index [N] of the nearest mean, the first of equals. What is left over of a cluster's only vector is 0, and of its two vectors d
 * and -d, so that many distances are equal but for rounding: those of few vectors are computed one by one, as in AudioCraft, and
 * not by a matrix product.
 */
function nearestMean(vectors: Tensor, means: Tensor): Tensor {
  const [count, dimension] = vectors.shape as [number, number];
  if (count * dimension * means.shape[0]! > 2 ** 24) return nearest(vectors, means);
  const differences = tf.sub(vectors.expandDims(1), means.expandDims(0)) as Tensor;
  return tf.argMin(pairwiseSum(tf.square(differences)), 1);
}

/** Sums over the last axis in pairs of neighbours, and pairs of these: the same rounding on every machine. */
function pairwiseSum(x: Tensor): Tensor {
  const size = x.shape[x.rank - 1];
  if (size % 2 === 1) return tf.sum(x, -1);
  return pairwiseSum(tf.sum(x.reshape([...x.shape.slice(0, -1), size / 2, 2]), -1));
}
