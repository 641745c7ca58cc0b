/** Sums of gradients over several batches, in variables, for an update that comes later. */
import type { Parameter } from "../nn/index.ts";
import { attr, inTurn, runUpdate, type Tensor, type Variable, zerosVariable } from "../runtime/index.ts";

export class GradientAccumulator {
  private readonly parameters: Parameter[];
  /** Null where the loss does not depend on the parameter; known once gradients have come. */
  private readonly sums: (Variable | null)[];

  constructor(parameters: Parameter[]) {
    this.parameters = parameters;
    this.sums = parameters.map(() => null);
  }

  /** Adds gradients, or with `replace` starts anew from them; inside the jitted step. */
  add(gradients: (Tensor | null)[], replace: boolean): void {
    inTurn(gradients.entries(), ([index, gradient]) => {
      if (gradient === null) return;
      this.sums[index] ??= zerosVariable(this.parameters[index].shape);
      if (replace) this.sums[index].assign(gradient);
      else runUpdate("AssignAddVariableOp", [this.sums[index], gradient], { dtype: attr.type("float32") });
    });
  }

  /** The sums, in the order of the parameters. */
  values(): (Tensor | null)[] {
    return this.sums.map((sum) => sum?.value ?? null);
  }
}
