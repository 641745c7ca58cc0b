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
  const { value, grads } = keepingTape(() => tf.engine().gradients(run, values, undefined, true));
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
  const { grads } = keepingTape(() => tf.engine().gradients(f, xs, dy, true));
  return grads.map((gradient, i) => gradient ?? tf.zerosLike(xs[i]));
}

/** The value of a scalar function at `x`, with its gradient there (zeros where it does not depend on x). */
export function valueAndGradientAt(f: (x: Tensor) => Tensor, x: Tensor): { value: Tensor; gradient: Tensor } {
  const { value, grads } = keepingTape(() => tf.engine().gradients(() => f(x), [x], undefined, true));
  return { value: value as Tensor, gradient: (grads[0] as Tensor | null) ?? tf.zerosLike(x) };
}

/** Runs `f`, which takes gradients, perhaps while others are taken: tfjs drops the outer tape at the end of the inner one. */
function keepingTape<T>(f: () => T): T {
  const { state } = tf.engine() as unknown as { state: { activeTape: unknown } };
  const outerTape = state.activeTape;
  try {
    return f();
  } finally {
    state.activeTape = outerTape;
  }
}

/**
 * Runs `f` with every variable's value on the tape, gives its outputs to `seed`, which decides on the gradients with respect to
 * them, and pulls these back to the variables. What else `seed` returned comes back as `aux`.
 */
export function seededGradients<A extends Record<string, Tensor>>(
  f: () => Tensor[],
  seed: (outputs: Tensor[]) => { gradients: Tensor[]; aux: A },
  variables: Variable[],
): { aux: A; gradients: (Tensor | null)[] } {
  let kept: A | undefined;
  // A node whose own gradient is what `seed` says: there the outputs are known, and nothing else is on the tape.
  const joined = tf.customGrad(((...args: unknown[]) => {
    const outputs = args.slice(0, -1) as Tensor[];
    (args[args.length - 1] as (tensors: Tensor[]) => void)(outputs);
    return {
      value: tf.scalar(0),
      gradFunc: (_: Tensor, saved: Tensor[]) => {
        const { gradients, aux } = seed(saved);
        kept = aux;
        for (const tensor of Object.values(aux)) tf.keep(tensor);
        return gradients;
      },
    };
  }) as never);
  const { loss, gradients } = valueAndGradients(
    () => ({ loss: joined(...(f() as never[])) as Tensor, aux: {} }),
    variables,
  );
  loss.dispose();
  const aux = Object.fromEntries(
    Object.entries(kept!).map(([key, tensor]) => {
      const copy = tf.clone(tensor);
      tensor.dispose();
      return [key, copy];
    }),
  ) as A;
  return { aux, gradients };
}
