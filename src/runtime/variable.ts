/**
 * A tensor with a place of its own in TensorFlow (a resource variable): weights, optimizer moments, caches. Updated in
 * place, inside a jitted function or outside, in every mode.
 */
import { DataType, type TypedArray } from "./native.ts";
import { attr, attrList, type OpAttrs, type OpInput, runOp, withBinding } from "./ops.ts";
import { realBinding, scoped, type Tensor, tf } from "./tensorflow.ts";

let count = 0;
let changes = 0;

/** Variables by the id of their handle, for the recorder. */
const byHandle = new Map<number, Variable>();

/** Values of the last two are only for ops that name their type: tfjs does not know it. */
export type VariableType = "float32" | "int32" | "bfloat16" | "int8";

export class Variable {
  readonly shape: number[];
  readonly dtype: VariableType;
  private readonly initial: () => Tensor | TypedArray;
  private handleId: number | null = null;
  private bound: Tensor | null = null;
  private lastChange = 0;

  /** `initial` makes the first value, on first use: a tensor or host values of `shape`. */
  constructor(shape: number[], initial: () => Tensor | TypedArray, dtype: VariableType = "float32") {
    this.shape = shape;
    this.dtype = dtype;
    this.initial = initial;
  }

  get size(): number {
    return this.shape.reduce((a, b) => a * b, 1);
  }

  /** Whether it has a value. */
  get exists(): boolean {
    return this.handleId !== null;
  }

  /** Differs from what it was whenever the value may have changed, for what is derived of it. */
  get version(): number {
    return this.lastChange;
  }

  /** The value may be another one from now on. */
  changed(): void {
    this.lastChange = ++changes;
  }

  /** Id of the resource handle. Makes the variable, with its first value, when there is none yet. */
  get handle(): number {
    if (this.handleId === null) {
      this.create();
      withBinding(realBinding, () => tf.tidy(() => this.store(this.toTensor(this.initial()))));
    }
    return this.handleId!;
  }

  /** The current value, as a tensor of the scope in which it is asked for. */
  get value(): Tensor {
    if (this.bound !== null) return this.bound;
    return runOp("ReadVariableOp", [this], { dtype: attr.type(this.dtype) })[0];
  }

  /** Makes `value` be `tensor`, so that gradients can be taken with respect to it; call the result to undo it. */
  bind(tensor: Tensor): () => void {
    const before = this.bound;
    this.bound = tensor;
    return () => {
      this.bound = before;
    };
  }

  /** Replaces the value by a tensor of the same shape. */
  assign(tensor: Tensor): void {
    if (tensor.shape.join() !== this.shape.join()) {
      throw new Error(`assign: a tensor of shape [${tensor.shape}] to a variable of shape [${this.shape}]`);
    }
    this.handle;
    this.store(tensor);
  }

  /** Replaces the value by host values, without making the initial value first. */
  load(values: TypedArray): void {
    if (values.length !== this.size) {
      throw new Error(`load: ${values.length} values for a variable of shape [${this.shape}]`);
    }
    if (this.handleId === null) this.create();
    withBinding(realBinding, () => tf.tidy(() => this.store(this.toTensor(values))));
  }

  /** A copy of the value on the host. */
  read(): TypedArray {
    return withBinding(realBinding, () => scoped(() => this.value.dataSync() as TypedArray));
  }

  /**
   * Holds the value of now without copying it: until it is taken or released, an update makes a copy instead of overwriting
   * it.
   */
  snapshot(): { take(): TypedArray; release(): void } {
    const held = withBinding(realBinding, () => tf.keep(this.value as never) as Tensor);
    return {
      take() {
        const values = held.dataSync() as TypedArray;
        held.dispose();
        return values;
      },
      release: () => held.dispose(),
    };
  }

  /** Exchanges places with a variable of the same shape; no value is copied. */
  swap(other: Variable): void {
    const [mine, theirs] = [this.handle, other.handle];
    this.handleId = theirs;
    other.handleId = mine;
    byHandle.set(theirs, this);
    byHandle.set(mine, other);
    this.changed();
    other.changed();
  }

  /** Puts a single number in the place of the value, until the next `assign`. */
  letGo(): void {
    this.store(zeros([], this.dtype as "float32"));
  }

  dispose(): void {
    if (this.handleId === null) return;
    withBinding(realBinding, () =>
      runOp("DestroyResourceOp", [{ handle: this.handleId! }], { ignore_lookup_error: true }, 0),
    );
    realBinding.deleteTensor(this.handleId);
    byHandle.delete(this.handleId);
    this.handleId = null;
  }

  private create(): void {
    const attrs = attrList({
      dtype: attr.type(this.dtype),
      shape: attr.shape(this.shape),
      shared_name: attr.string(`v${++count}`),
    });
    this.handleId = realBinding.executeOp("VarHandleOp", attrs, [], 1)[0].id;
    byHandle.set(this.handleId, this);
  }

  private store(tensor: Tensor): void {
    this.changed();
    runOp("AssignVariableOp", [{ handle: this.handleId! }, tensor], { dtype: attr.type(this.dtype) }, 0);
  }

  /**
   * Host values are copied into TensorFlow's own memory: tfjs lends it the JavaScript array, which may only be given back
   * on JavaScript's thread, while a variable's buffer may be freed on any.
   */
  private toTensor(value: Tensor | TypedArray): Tensor {
    if (!ArrayBuffer.isView(value)) return value as Tensor;
    const lent = tf.tensor(value as TypedArray, this.shape, this.dtype as "float32");
    return runOp("DeepCopy", [lent], { T: attr.type(this.dtype) })[0];
  }
}

/** The variable that a handle id belongs to. */
export function variableOfHandle(id: number): Variable | undefined {
  return byHandle.get(id);
}

/** Runs an op that updates variables in place (ResourceApplyAdam, …); `inputs` in the op's order. */
export function runUpdate(name: string, inputs: OpInput[], attrs: OpAttrs = {}): void {
  runOp(name, inputs, attrs, 0);
}

/** A variable of zeros. */
export function zerosVariable(shape: number[], dtype: "float32" | "int32" = "float32"): Variable {
  return new Variable(shape, () => zeros(shape, dtype), dtype);
}

/** Zeros in TensorFlow's own memory. */
function zeros(shape: number[], dtype: "float32" | "int32"): Tensor {
  return runOp("Fill", [tf.tensor1d(shape, "int32"), tf.scalar(0, dtype)], {
    T: attr.type(dtype),
    index_type: attr.type(DataType.int32),
  })[0];
}
