/**
 * Mixed precision from outside the model: while `autocast(dtype, f)` runs, matrix products and convolutions compute in a
 * 16-bit type and everything else stays float32, as torch.autocast does.
 *
 * tfjs has no 16-bit types and needs none: the casts happen below it, where ops are executed or recorded, and tfjs goes
 * on believing that every tensor is float32.
 *
 * On processors without units for bfloat16, products are for our own op, which rounds its operands on their way into a float32
 * product: the same numbers without the passes that cast. It takes tfjs's float32 products as well where it is faster.
 */
import { AttrType, DataType, type OpAttr, type TensorMetadata } from "./native.ts";
import { bfloat16Units, fasterProducts } from "./processor.ts";

export type AutocastType = "bfloat16" | "float16";

/** Ops that gain from a 16-bit type; both of their tensor inputs are cast. */
const lowPrecisionOps = new Set(["MatMul", "BatchMatMulV2", "Conv2D"]);
/** Gradients of convolutions: the inputs that are tensors of floats, by position. */
const floatInputs: Record<string, number[]> = { Conv2DBackpropInput: [1, 2], Conv2DBackpropFilter: [0, 2] };

let active: AutocastType | null = null;

/** Runs `f` with matrix products in `dtype`, or unchanged when it is null. */
export function autocast<T>(dtype: AutocastType | null, f: () => T): T {
  const before = active;
  active = dtype;
  try {
    return f();
  } finally {
    active = before;
  }
}

/** The type in force; part of a jitted function's identity. */
export function autocastType(): AutocastType | null {
  return active;
}

/** Whether matrix products are for our own op, under the type in force; `kernels`: whether our ops can take part at all. */
export function productsAreOurs(kernels: boolean): boolean {
  if (!kernels || !fasterProducts) return false;
  return active === null || (active === "bfloat16" && !bfloat16Units);
}

/** Where ops run: `execute` adds or computes one op, `dtypeOf` knows a tensor's true type, `release` drops a temporary. */
export interface OpExecutor {
  execute(name: string, attrs: OpAttr[], inputs: number[], outputs: number): TensorMetadata[];
  dtypeOf(id: number): number;
  /** A cast of `id` made before, if the executor remembers them. */
  cachedCast(id: number, dtype: number, make: () => number): number;
  release(id: number): void;
  /** Whether our own ops (native/kernels) can take part. */
  hasKernels(): boolean;
}

/** TensorFlow's products of matrices, and what they call their transpositions. */
const transpositions: Record<string, [a: string, b: string]> = {
  MatMul: ["transpose_a", "transpose_b"],
  BatchMatMulV2: ["adj_x", "adj_y"],
};

/** Runs an op under the autocast rules in force. */
export function executeWithAutocast(
  executor: OpExecutor,
  name: string,
  attrs: OpAttr[],
  inputs: number[],
  outputs: number,
): TensorMetadata[] {
  if (name in transpositions && productsAreOurs(executor.hasKernels())) {
    if (inputs.every((id) => executor.dtypeOf(id) === DataType.float)) {
      return executor.execute("MgMatMul", ownAttrs(name, attrs), inputs, outputs);
    }
  }
  const positions = lowPrecisionOps.has(name) ? inputs.map((_, i) => i) : floatInputs[name];
  if (active === null || positions === undefined) return executor.execute(name, attrs, inputs, outputs);
  const low = active === "bfloat16" ? DataType.bfloat16 : DataType.half;
  if (!positions.every((i) => executor.dtypeOf(inputs[i]) === DataType.float)) {
    return executor.execute(name, attrs, inputs, outputs);
  }
  const cast = (id: number, from: number, to: number) => {
    const attrs = [
      { name: "DstT", type: AttrType.type, value: to },
      { name: "SrcT", type: AttrType.type, value: from },
    ];
    return executor.execute("Cast", attrs, [id], 1);
  };
  const lowered = [...inputs];
  for (const i of positions) {
    lowered[i] = executor.cachedCast(inputs[i], low, () => cast(inputs[i], DataType.float, low)[0].id);
  }
  const loweredAttrs = attrs.map((attr) =>
    attr.name === "T" || attr.name === "dtype" ? { ...attr, value: low } : attr,
  );
  const [result] = executor.execute(name, loweredAttrs, lowered, 1);
  const wide = cast(result.id, low, DataType.float);
  for (const i of positions) executor.release(lowered[i]);
  executor.release(result.id);
  return wide;
}

/** Attributes of our product that stand for those of TensorFlow's. */
function ownAttrs(name: string, attrs: OpAttr[]): OpAttr[] {
  const bool = (name: string, value: unknown) => ({ name, type: AttrType.bool, value });
  const [a, b] = transpositions[name].map((own) => attrs.find((attr) => attr.name === own)?.value ?? false);
  return [bool("transpose_a", a), bool("transpose_b", b), bool("round_to_bfloat16", active === "bfloat16")];
}
