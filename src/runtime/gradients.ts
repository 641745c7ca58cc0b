/** Gradients of a scalar with respect to variables, by tfjs's tape. */
import { type Tensor, tf } from "./tensorflow.ts";
import type { Variable } from "./variable.ts";

export interface LossAndGradients<A extends Record<string, Tensor>> {
  loss: Tensor;
  aux: A;
  /** One per variable; null where the loss does not depend on it. */
  gradients: (Tensor | null)[];
}

/**
 * Runs `f` with every variable's value on the tape and returns its loss, whatever else it returned, and d loss / d variable.
 */
export function valueAndGradients<A extends Record<string, Tensor>>(
  f: () => { loss: Tensor; aux: A },
  variables: Variable[],
): LossAndGradients<A> {
  const values = variables.map((variable) => variable.value);
  let kept: A | undefined;
  const run = (): Tensor => {
    const restore = variables.map((variable, index) => variable.bind(values[index]));
    try {
      const { loss, aux } = f();
      kept = aux;
      for (const tensor of Object.values(aux)) tf.keep(tensor);
      return loss;
    } finally {
      for (const undo of restore) undo();
    }
  };
  const { value, grads } = tf.engine().gradients(run, values, undefined, true);
  const aux = Object.fromEntries(
    Object.entries(kept!).map(([key, tensor]) => {
      const copy = tf.clone(tensor);
      tensor.dispose();
      return [key, copy];
    }),
  ) as A;
  return { loss: value as Tensor, aux, gradients: grads.map((gradient) => gradient ?? null) };
}

/**
 * dy times d f / d xs, for a gradient function that computes a part of the forward pass again; zeros where f does not
 * depend on an x.
 */
export function pullBack(f: () => Tensor, xs: Tensor[], dy: Tensor): Tensor[] {
  const { state } = tf.engine() as unknown as { state: { activeTape: unknown } };
  const outerTape = state.activeTape; // tfjs drops it at the end of the inner one
  try {
    const { grads } = tf.engine().gradients(f, xs, dy, true);
    return grads.map((gradient, i) => gradient ?? tf.zerosLike(xs[i]));
  } finally {
    state.activeTape = outerTape;
  }
}
