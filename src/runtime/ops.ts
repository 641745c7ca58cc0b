/** Running a TensorFlow op by name, for the ops that tfjs has no function for. The same call computes or is recorded. */
import { AttrType, type Binding, DataType, type OpAttr } from "./native.ts";
import { backend, type Tensor } from "./tensorflow.ts";

/** A value that ops take: a tensor, or a variable's handle; a variable hears that an op may change it. */
export type OpInput = Tensor | { readonly handle: number; changed?(): void };

/** Attributes as `{T: attr.type("float32"), transpose_a: true}`: booleans stand for themselves, the rest is built by `attr`. */
export type OpAttrs = Record<string, boolean | Omit<OpAttr, "name">>;

export const attr = {
  type: (dtype: TypeName | number) => ({
    type: AttrType.type,
    value: dtypeNumber(dtype),
  }),
  int: (value: number | number[]) => ({ type: AttrType.int, value }),
  float: (value: number | number[]) => ({ type: AttrType.float, value }),
  string: (value: string) => ({ type: AttrType.string, value }),
  shape: (value: number[]) => ({ type: AttrType.shape, value }),
};

/**
 * Runs the TensorFlow op `name` and returns its `outputs` tensors. Not differentiable by itself: wrap it in
 * `tf.customGrad`. Errors are TensorFlow's own messages.
 */
export function runOp(name: string, inputs: OpInput[], attrs: OpAttrs = {}, outputs = 1): Tensor[] {
  if (name !== "ReadVariableOp") for (const input of inputs) if ("changed" in input) input.changed?.();
  const ids = inputs.map((input) =>
    "handle" in input ? input.handle : backend.getInputTensorIds([input])[0],
  );
  return backend.binding
    .executeOp(name, attrList(attrs), ids, outputs)
    .map((metadata) => backend.createOutputTensor({ ...metadata, dtype: shownType(metadata.dtype) }));
}

/**
 * Runs one of our own ops (native/kernels), whose outputs have the `shapes` given here. They compute on CPUs, op by op and in
 * graphs; ask `hasKernels()` before. Not differentiable by itself, like `runOp`.
 */
export function runKernel(name: string, inputs: OpInput[], attrs: OpAttrs, shapes: number[][]): Tensor[] {
  backend.binding.declareShapes?.(shapes);
  return runOp(name, inputs, attrs, shapes.length);
}

/** Attributes as the binding takes them. */
export function attrList(attrs: OpAttrs): OpAttr[] {
  return Object.entries(attrs).map(([name, value]) =>
    typeof value === "boolean" ? { name, type: AttrType.bool, value } : { name, ...value },
  );
}

/** Makes `binding` the one that tfjs talks to while `f` runs. */
export function withBinding<T>(binding: Binding, f: () => T): T {
  const before = backend.binding;
  backend.binding = binding;
  try {
    return f();
  } finally {
    backend.binding = before;
  }
}

/** Types by the names that tfjs gives them, and those that it does not know. */
const typeNumbers = {
  float32: DataType.float,
  int32: DataType.int32,
  bool: DataType.bool,
  bfloat16: DataType.bfloat16,
  int8: DataType.int8,
} as const;

export type TypeName = keyof typeof typeNumbers;

export function dtypeNumber(dtype: TypeName | number): number {
  return typeof dtype === "number" ? dtype : typeNumbers[dtype];
}

/** What tfjs takes a tensor for that has a type which it does not know: ops that read it name its type themselves. */
export function shownType(dtype: number): number {
  if (dtype === DataType.bfloat16 || dtype === DataType.half) return DataType.float;
  return dtype === DataType.int8 ? DataType.int32 : dtype;
}
