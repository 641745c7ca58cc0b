/** The language model's loss: cross entropy per codebook, and their mean (not the mean over all tokens). */
import { meanCrossEntropy, softmaxCrossEntropy } from "../nn/index.ts";
import { hasKernels, type Tensor, tf } from "../runtime/index.ts";

/**
 * logits [B, K, S, card], or of each codebook [B, S, card]; targets int32 [B, K, S], mask float32 [K, S] or [B, K, S] (1 counts)
 * -> ce: mean over codebooks of each one's mean over its counted positions (nats), perCodebook [K].
 */
export function crossEntropyPerCodebook(logits: Tensor | Tensor[], targets: Tensor, mask: Tensor) {
  const weights = mask.rank === 3 ? mask : tf.tile(mask.expandDims(0), [targets.shape[0], 1, 1]);
  const means = hasKernels() ? inOnePass : inPasses;
  const perCodebook = means(logits, targets, weights); // [K]
  return { ce: tf.mean(perCodebook) as Tensor, perCodebook };
}

function inOnePass(logits: Tensor | Tensor[], targets: Tensor, weights: Tensor): Tensor {
  const each = Array.isArray(logits) ? logits : tf.unstack(logits, 1);
  const [labels, counted] = [targets, weights].map((x) => tf.unstack(x, 1));
  const means = each.map((own, k) =>
    meanCrossEntropy(own.reshape([-1, own.shape[2]!]), labels[k].reshape([-1]), counted[k].reshape([-1])),
  );
  return tf.stack(means as never[]) as Tensor;
}

function inPasses(logits: Tensor | Tensor[], targets: Tensor, weights: Tensor): Tensor {
  const all = Array.isArray(logits) ? (tf.stack(logits as never[], 1) as Tensor) : logits; // [B, K, S, card]
  const losses = softmaxCrossEntropy(all.reshape([-1, all.shape[3]!]), targets.reshape([-1]));
  const sums = tf.sum(tf.mul(losses.reshape(targets.shape), weights), [0, 2]);
  return tf.div(sums, tf.maximum(tf.sum(weights, [0, 2]), 1));
}
