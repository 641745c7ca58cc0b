/** The best weights of a run so far, kept on the host: in 16 bits when training multiplies in 16 bits (as in AudioCraft). */
import { bfloat16ToFloat32, float32ToBfloat16 } from "../checkpoint/dtypes.ts";
import type { TensorSource, WeightsReader } from "../checkpoint/safetensors.ts";
import type { Parameter } from "../nn/index.ts";
import { type AutocastType, type Variable, zerosVariable } from "../runtime/index.ts";

const prefix = "best_state.model.";

export class BestState {
  private readonly parameters: [string, Parameter][];
  private readonly precision: AutocastType | null;
  private values: (Float32Array | Uint16Array)[] | null = null;

  constructor(parameters: [string, Parameter][], precision: AutocastType | null) {
    this.parameters = parameters;
    this.precision = precision;
  }

  get isEmpty(): boolean {
    return this.values === null;
  }

  /** Takes the weights that are in place now. */
  keep(): void {
    this.values = this.parameters.map(([, parameter]) => this.pack(parameter.read() as Float32Array));
  }

  /** Runs `f` with the best weights in place. */
  async use<T>(f: () => Promise<T>): Promise<T> {
    const stand = this.parameters.map(([, parameter], index): [Parameter, Variable] => {
      const variable = zerosVariable(parameter.shape);
      variable.load(unpack(this.values![index]));
      return [parameter, variable];
    });
    for (const [parameter, variable] of stand) parameter.swap(variable);
    try {
      return await f();
    } finally {
      for (const [parameter, variable] of stand) {
        parameter.swap(variable);
        variable.dispose();
      }
    }
  }

  /** For a checkpoint, as copies that may be given away; nothing when there is no best state yet. */
  tensors(): TensorSource[] {
    return (this.values ?? []).map((values, index) => {
      const [name, { shape }] = this.parameters[index];
      const dtype = values instanceof Float32Array ? "F32" : "BF16";
      return { name: prefix + name, dtype, shape, data: () => values.slice() };
    });
  }

  /** Out of a checkpoint, if it has one. */
  load(file: WeightsReader): void {
    if (!file.has(prefix + this.parameters[0][0])) return;
    this.values = this.parameters.map(([name]) => this.pack(file.readFloat32(prefix + name)));
  }

  private pack(values: Float32Array): Float32Array | Uint16Array {
    return this.precision === null ? values : float32ToBfloat16(values);
  }
}

function unpack(values: Float32Array | Uint16Array): Float32Array {
  return values instanceof Float32Array ? values : bfloat16ToFloat32(values);
}
