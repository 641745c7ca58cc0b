/**
 * Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): a part of the model forgets what it computed inside and
 * computes it again when its gradient is due.
 */
import { computeAfter, pullBack, type Tensor, Tensor_ } from "../runtime/index.ts";
import { dropoutScope, withDropoutScope } from "./dropout.ts";
import { withGradient } from "./functional.ts";
import type { Parameter } from "./module.ts";

/** Tensors in any nesting of objects. */
export type Constants = Tensor | null | { readonly [name: string]: Constants };

/** A part of a model: from its inputs, and from tensors that take no gradient. */
export type Part<C extends Constants> = (inputs: Tensor[], constants: C) => Tensor;

/**
 * f(inputs, constants), of which nothing but these is kept for the backward pass. Gradients flow to the inputs and to
 * `parameters`, which are those that f uses.
 */
export function recomputed<C extends Constants>(
  f: Part<C>,
  inputs: Tensor[],
  constants: C,
  parameters: Parameter[],
): Tensor {
  const scope = dropoutScope();
  const sources = [...inputs, ...parameters.map((parameter) => parameter.value)];
  return withGradient(sources, (given, save) => {
    save([...given, ...tensorsIn(constants)]);
    return {
      value: f(given.slice(0, inputs.length), constants),
      gradFunc: (dy, saved) => {
        // dy comes back, too: a barrier whose result for dy nobody used would not hold the inputs back.
        const delayed = computeAfter([...saved.slice(0, inputs.length), dy], dy);
        const again = delayed.slice(0, inputs.length);
        const weights = saved.slice(inputs.length, sources.length);
        const rest = replaced(constants, saved.slice(sources.length)) as C;
        const pass = () => {
          const undo = parameters.map((parameter, i) => parameter.bind(weights[i]));
          try {
            return withDropoutScope(scope, () => f(again, rest));
          } finally {
            for (const restore of undo) restore();
          }
        };
        return pullBack(pass, [...again, ...weights], delayed[inputs.length]);
      },
    };
  });
}

function tensorsIn(constants: Constants): Tensor[] {
  if (constants === null) return [];
  return constants instanceof Tensor_ ? [constants as Tensor] : Object.values(constants).flatMap(tensorsIn);
}

/** The same structure with other tensors, which are taken from the front of `tensors`. */
function replaced(constants: Constants, tensors: Tensor[]): Constants {
  if (constants === null) return null;
  if (constants instanceof Tensor_) return tensors.shift()!;
  const entries = Object.entries(constants as Record<string, Constants>);
  return Object.fromEntries(entries.map(([name, value]) => [name, replaced(value, tensors)]));
}
