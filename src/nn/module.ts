/**
 * Modules: objects whose fields are parameters, other modules, or arrays and records of them.
 *
 * Names in a state dict come from the fields, in the snake_case of the original checkpoints: `selfAttn.inProjWeight` is
 * `self_attn.in_proj_weight`, `layers[3]` is `layers.3`. A module that needs another name says so in `stateNames`.
 */
import { type Tensor, type TypedArray, Variable } from "../runtime/index.ts";
import { CompressedWeight } from "./compressed_weight.ts";
import type { Initializer } from "./initializers.ts";
import type { WeightType } from "./weight_types.ts";

/** A trained weight or, with `trainable: false`, a buffer that is only saved and loaded. */
export class Parameter extends Variable {
  readonly trainable: boolean;
  private weightType: WeightType = "float32";
  private compressedWeight: CompressedWeight | null = null;

  constructor(shape: number[], initializer: Initializer, options: { trainable?: boolean } = {}) {
    super(shape, () => initializer(shape));
    this.trainable = options.trainable ?? true;
  }

  /**
   * Keeps a matrix in fewer bits from now on, also when it is loaded only later. It can still be read and multiplied by, no more be
   * trained.
   */
  compress(type: WeightType): void {
    if (type === this.weightType) return;
    if (this.weightType !== "float32" || this.shape.length !== 2)
      throw new Error(`a ${this.weightType} parameter [${this.shape}] cannot become ${type}`);
    this.weightType = type;
    if (this.exists) this.compressValue();
  }

  /** The weight in few bits, when it is kept so. */
  get compressed(): CompressedWeight | null {
    if (this.weightType !== "float32" && !this.compressedWeight) this.compressValue();
    return this.compressedWeight;
  }

  override get value(): Tensor {
    return this.compressed?.value ?? super.value;
  }

  override load(values: TypedArray): void {
    super.load(values);
    if (this.weightType !== "float32") this.compressValue();
  }

  override dispose(): void {
    this.compressedWeight?.dispose();
    super.dispose();
  }

  private compressValue(): void {
    const { weightType } = this;
    if (weightType === "float32") return;
    this.compressedWeight?.dispose();
    this.compressedWeight = new CompressedWeight(
      this.shape as [number, number],
      () => super.value,
      weightType,
    );
    super.dispose();
  }
}

export abstract class Module {
  /** Exceptions to the naming rule: field -> name in the state dict. */
  protected stateNames(): Record<string, string> {
    return {};
  }

  /** All parameters and buffers below this module with their state-dict names, in the order of the fields. */
  namedParameters(prefix = ""): [string, Parameter][] {
    const names = this.stateNames();
    return Object.entries(this).flatMap(([field, value]) =>
      collect(value, prefix + (names[field] ?? snakeCase(field))),
    );
  }

  /** The trainable parameters. */
  parameters(): Parameter[] {
    return this.namedParameters().flatMap(([, parameter]) => (parameter.trainable ? [parameter] : []));
  }

  /** Number of trainable values. */
  parameterCount(): number {
    return this.parameters().reduce((sum, parameter) => sum + parameter.size, 0);
  }

  dispose(): void {
    for (const [, parameter] of this.namedParameters()) parameter.dispose();
  }
}

function collect(value: unknown, name: string): [string, Parameter][] {
  if (value instanceof Parameter) return [[name, value]];
  if (value instanceof Module) return value.namedParameters(`${name}.`);
  if (Array.isArray(value)) return value.flatMap((item, index) => collect(item, `${name}.${index}`));
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.entries(value).flatMap(([key, item]) => collect(item, `${name}.${key}`));
  }
  return [];
}

function snakeCase(field: string): string {
  return field.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase();
}
