/** What the readers of one file have in common: tensors by name, and what is said when one is missing or of another kind. */
import { UserError } from "../errors.ts";
import { type Dtype, type TypedArray, toFloat32 } from "./dtypes.ts";

export abstract class NamedTensors<Entry extends { dtype: Dtype; shape: readonly number[] }> {
  readonly path: string;
  readonly names: readonly string[];
  protected readonly tensors: ReadonlyMap<string, Entry>;

  constructor(path: string, tensors: ReadonlyMap<string, Entry>) {
    this.path = path;
    this.names = [...tensors.keys()];
    this.tensors = tensors;
  }

  abstract read(name: string): TypedArray;

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  dtype(name: string): Dtype {
    return this.tensor(name).dtype;
  }

  shape(name: string): readonly number[] {
    return this.tensor(name).shape;
  }

  readFloat32(name: string): Float32Array {
    const dtype = this.dtype(name);
    const values = toFloat32(dtype, this.read(name));
    if (values !== null) return values;
    throw new UserError(`${this.path}: tensor "${name}" holds ${dtype}, floating-point numbers expected`);
  }

  protected tensor(name: string): Entry {
    const tensor = this.tensors.get(name);
    if (tensor) return tensor;
    throw new UserError(
      `${this.path}: no tensor "${name}" in this file (it has ${this.names.length} tensors)`,
    );
  }
}
