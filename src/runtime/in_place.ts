/** Our own ops (native/kernels) that update variables in their own memory. */
import { inTurn } from "./jit.ts";
import { type OpAttrs, type OpInput, runKernel } from "./ops.ts";
import type { Tensor } from "./tensorflow.ts";
import type { Variable } from "./variable.ts";

/**
 * Runs one of our own ops whose first inputs and outputs are the values of `variables` before and after; returns the rest of its
 * outputs, of `shapes`. It computes in the variables' memory: they let go of their values for the moment, so that the op finds
 * that nobody else holds them. A value that a snapshot holds, or an op that still reads it, is left as it is.
 */
export function runInPlace(
  name: string,
  variables: Variable[],
  inputs: OpInput[],
  attrs: OpAttrs = {},
  shapes: number[][] = [],
): Tensor[] {
  const values = variables.map((variable) => variable.value);
  let results: Tensor[] = [];
  inTurn(
    [
      () => {
        for (const variable of variables) variable.letGo();
      },
      () => {
        const all = [...variables.map(({ shape }) => shape), ...shapes];
        results = runKernel(name, [...values, ...inputs], attrs, all);
        for (const [i, variable] of variables.entries()) variable.assign(results[i]);
      },
    ],
    (part) => part(),
  );
  return results.slice(variables.length);
}
