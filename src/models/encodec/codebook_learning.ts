/**
 * How a codebook learns without gradients: every step moves its entries towards the vectors that chose them (arXiv 1711.00937,
 * appendix A.1). All of it runs inside of the jitted step.
 */
import { segmentSum } from "../../nn/index.ts";
import { attr, runOp, type Tensor, tf } from "../../runtime/index.ts";
import type { EuclideanCodebook } from "./quantizer.ts";
import type { VectorSampler } from "./vector_sampler.ts";

export interface CodebookLearning {
  /** How much of the statistics stays from step to step. */
  decay: number;
  /**
   * Entries with a smaller average number of vectors start again as random vectors of the batch; 0: none does. (In AudioCraft
   * none ever does: the update that follows overwrites what was replaced.)
   */
  deadThreshold: number;
  /** Draws the random vectors. */
  sample: VectorSampler;
}

/** Of the smoothing that keeps counts from being zero. */
const EPSILON = 1e-5;

/**
 * Moves codebook number `index` by vectors [N, D] that chose the entries `indices` [N]; where `takesPart` (bool scalar) is
 * false it stays. The moving averages of how many vectors chose an entry and of their sum; an entry is their quotient. A dead
 * entry's averages start again with its new vector, seen as often as the threshold says.
 */
export function learn(
  { clusterSize, embed, embedAvg }: EuclideanCodebook,
  index: number,
  vectors: Tensor,
  indices: Tensor,
  { decay, deadThreshold, sample }: CodebookLearning,
  takesPart: Tensor | null,
): void {
  const [bins, dimension] = embed.shape;
  let [sizes, sums] = [clusterSize.value, embedAvg.value];
  if (deadThreshold > 0) {
    const isDead = tf.less(sizes, deadThreshold);
    const isDeadRow = tf.tile(isDead.expandDims(1), [1, dimension]);
    sums = tf.where(isDeadRow, tf.mul(sample(vectors, bins, index), deadThreshold), sums);
    sizes = tf.where(isDead, tf.fill([bins], deadThreshold), sizes);
  }
  const moved = (before: Tensor, now: Tensor) =>
    tf.add(tf.mul(before, decay), tf.mul(now, 1 - decay)) as Tensor;
  sizes = moved(sizes, segmentSum(tf.ones([vectors.shape[0], 1]), indices, bins).reshape([bins]));
  sums = moved(sums, segmentSum(vectors, indices, bins));
  const total = tf.sum(sizes);
  const smoothed = tf.mul(tf.div(tf.add(sizes, EPSILON), tf.add(total, bins * EPSILON)), total);
  const updates = [
    [clusterSize, sizes],
    [embedAvg, sums],
    [embed, tf.div(sums, smoothed.expandDims(1)) as Tensor],
  ] as const;
  for (const [variable, value] of updates) {
    variable.assign(takesPart === null ? value : select(takesPart, value, variable.value));
  }
}

/** `yes` or `no`, by a scalar. */
function select(condition: Tensor, yes: Tensor, no: Tensor): Tensor {
  return runOp("SelectV2", [condition, yes, no], { T: attr.type("float32") })[0];
}

/** `orthogonal_reg_*` of the `rvq` section. */
export interface OrthogonalRegularization {
  weight: number;
  /** Counts only the entries that were chosen in this step. */
  activeOnly: boolean;
}

/**
 * sum (cos(e_i, e_j) - [i = j])^2 / n^2 over the entries (arXiv 2112.00384, equation 2). It shows how alike they are; entries
 * move by their averages alone, so it has no gradient, in AudioCraft neither.
 */
export function orthogonality(
  codebook: EuclideanCodebook,
  indices: Tensor,
  { weight, activeOnly }: OrthogonalRegularization,
): Tensor {
  const [bins] = codebook.embed.shape;
  const embed = codebook.embed.value;
  const norms = tf.maximum(tf.sqrt(tf.sum(tf.square(embed), 1, true)), 1e-12);
  const unit = tf.div(embed, norms);
  const excess = tf.square(
    tf.sub(tf.matMul(unit as never, unit as never, false, true), tf.eye(bins)),
  ) as Tensor;
  if (!activeOnly) return tf.mul(tf.mean(excess), weight);
  const counts = segmentSum(tf.ones([indices.size, 1]), indices, bins);
  const active = tf.minimum(counts, 1) as Tensor;
  const pairs = tf.mul(excess, tf.mul(active, active.reshape([1, bins])));
  return tf.mul(tf.div(tf.sum(pairs), tf.square(tf.sum(active))), weight);
}
