/** The language model's loss: cross entropy per codebook, and their mean (not the mean over all tokens). */
import { softmaxCrossEntropy } from "../nn/index.ts";
import { type Tensor, tf } from "../runtime/index.ts";

/**
 * logits [B, K, S, card], targets int32 [B, K, S], mask float32 [K, S] or [B, K, S] (1 counts)
 * -> ce: mean over codebooks of each one's mean over its counted positions (nats), perCodebook [K].
 */
export function crossEntropyPerCodebook(logits: Tensor, targets: Tensor, mask: Tensor) {
  const [batch, codebooks, steps, card] = logits.shape as [number, number, number, number];
  const losses = softmaxCrossEntropy(logits.reshape([-1, card]), targets.reshape([-1]));
  const shape = [batch, codebooks, steps];
  const weights = mask.rank === 3 ? mask : tf.tile(mask.expandDims(0), [batch, 1, 1]);
  const sums = tf.sum(tf.mul(losses.reshape(shape), weights), [0, 2]);
  const perCodebook = tf.div(sums, tf.maximum(tf.sum(weights, [0, 2]), 1)) as Tensor; // [K]
  return { ce: tf.mean(perCodebook) as Tensor, perCodebook };
}
