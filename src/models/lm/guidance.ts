/** Classifier-free guidance: which rows run, and how their logits become one. */
import { type Tensor, tf } from "../../runtime/index.ts";

/**
 * - none: B rows
 * - joint: 2B rows in one stream, the null conditions after the others
 * - two-step: two streams of B rows, conditions and null conditions, with the padding of training
 * - double: 3B rows in one stream, all conditions, then without texts (the audio condition stays), then without any
 */
export type Guidance = "none" | "joint" | "two-step" | "double";

/** How many times the rows stand in one stream. */
export const rowCopies: Readonly<Record<Guidance, number>> = { none: 1, joint: 2, "two-step": 1, double: 3 };

/**
 * Logits of the guidance's parts, in the order of the rows or streams -> logits: one as it is, two by classifier-free guidance,
 * three by double guidance (arXiv 2407.12563). `coef` and `beta` are scalars.
 */
export function guided(parts: Tensor[], coef: Tensor, beta: Tensor): Tensor {
  if (parts.length === 1) return parts[0];
  const unconditional = parts[parts.length - 1];
  const toward = parts.length === 2 ? parts[0] : tf.add(parts[1], tf.mul(beta, tf.sub(parts[0], parts[1])));
  return tf.add(unconditional, tf.mul(tf.sub(toward, unconditional), coef));
}
