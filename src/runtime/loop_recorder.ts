/** Recording the functions of a loop, inside the recording of the function that it is in. */

import type { TensorMetadata } from "./native.ts";
import { Recorder } from "./recorder.ts";
import type { Variable } from "./variable.ts";

/** What both functions of a loop take from outside, in the order in which one of them first asked for it. */
export class LoopInputs {
  /** The outer recorder's ids of tensors. */
  readonly tensors: number[] = [];
  readonly variables: Variable[] = [];
}

const idsPerLevel = 2 ** 32;

export class LoopRecorder extends Recorder {
  override readonly base: number;
  private readonly outer: Recorder;
  private readonly inputs: LoopInputs;
  /** The variables that the loop may update; all others are read once, before it. */
  private readonly updatable: ReadonlySet<Variable>;
  /** Ids in this graph of the outer recorder's tensors. */
  private readonly placeholders = new Map<number, number>();

  constructor(name: string, outer: Recorder, inputs: LoopInputs, updatable: ReadonlySet<Variable>) {
    super(name, outer.forXla);
    this.outer = outer;
    this.base = outer.base + idsPerLevel;
    this.inputs = inputs;
    this.updatable = updatable;
  }

  /** Ids of the inputs for all that either function takes from outside: tensors, then variables. */
  capturedPlaceholders(): number[] {
    return [
      ...this.inputs.tensors.map((outerId) => this.placeholder(outerId)),
      ...this.inputs.variables.map((variable) => this.use(variable).placeholder),
    ];
  }

  protected override capture(id: number): number {
    return this.placeholder(this.outer.graphId(id));
  }

  override use(variable: Variable): ReturnType<Recorder["use"]> {
    if (!this.updatable.has(variable)) {
      throw this.error("updates a variable that the loop's `updates` does not list");
    }
    if (!this.inputs.variables.includes(variable)) this.inputs.variables.push(variable);
    return super.use(variable);
  }

  override readVariable(variable: Variable): TensorMetadata {
    if (this.updatable.has(variable)) return super.readVariable(variable);
    const { id, dtype, shape } = this.outer.readVariable(variable);
    return { id: this.base + this.placeholder(id - this.outer.base), dtype, shape };
  }

  private placeholder(outerId: number): number {
    const known = this.placeholders.get(outerId);
    if (known !== undefined) return known;
    if (!this.inputs.tensors.includes(outerId)) this.inputs.tensors.push(outerId);
    const { dtype, shape } = this.outer.describe(outerId);
    const id = this.input(`captured_${this.placeholders.size}`, dtype, shape);
    this.placeholders.set(outerId, id);
    return id;
  }
}
