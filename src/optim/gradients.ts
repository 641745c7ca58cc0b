/** All gradients of an update together: their norm, and bounding it. */
import { attr, hasKernels, runKernel, runOp, type Tensor, tf } from "../runtime/index.ts";

/**
 * Global 2-norm of all gradients, and what to multiply them by so that it is at most `maxNorm`: min(1, maxNorm / (norm +
 * 1e-6)) (torch.clip_grad_norm_). No or zero `maxNorm`: null, no clipping.
 */
export function clipByGlobalNorm(gradients: (Tensor | null)[], maxNorm: number | null) {
  const norm = globalNorm(gradients);
  const scale = maxNorm ? (tf.minimum(tf.div(maxNorm, tf.add(norm, 1e-6)), 1) as Tensor) : null;
  return { norm, scale };
}

/** The 2-norm of all gradients together. */
export function globalNorm(gradients: (Tensor | null)[]): Tensor {
  const all = withGradients(gradients).map(([, gradient]) => gradient);
  if (hasKernels() && all.length > 0)
    return runKernel("MgGlobalNorm", all, { N: attr.int(all.length) }, [[]])[0];
  return tf.sqrt(total(all.map((gradient) => tf.mul(l2Loss(gradient), 2))));
}

/** The gradients that there are, with the indexes of their parameters. */
export function withGradients(gradients: (Tensor | null)[]): [number, Tensor][] {
  return [...gradients.entries()].filter((entry): entry is [number, Tensor] => entry[1] !== null);
}

export function scaled(gradient: Tensor, scale: Tensor | null): Tensor {
  return scale === null ? gradient : tf.mul(gradient, scale);
}

/** sum(x^2) / 2, in one pass. */
function l2Loss(x: Tensor): Tensor {
  return runOp("L2Loss", [x], { T: attr.type("float32") })[0];
}

export function total(scalars: Tensor[]): Tensor {
  return tf.addN(scalars as never[]) as Tensor;
}
