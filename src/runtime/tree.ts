/** Trees: the arguments and results of traced functions, with their tensors at the leaves. */
import { DataType } from "./native.ts";
import { TraceError } from "./recorder.ts";
import { type Tensor, Tensor_ } from "./tensorflow.ts";
import type { Variable } from "./variable.ts";

/** Tensors in any nesting of arrays and objects; other values are static: part of the function, not of its inputs. */
export type Tree =
  | Tensor
  | Variable
  | number
  | string
  | boolean
  | null
  | undefined
  | Tree[]
  | { [key: string]: Tree };

/** Appends the tensors of a tree in order; returns its key: structure, static values, dtypes and shapes. */
export function flatten(tree: unknown, tensors: Tensor[]): string {
  if (tree instanceof Tensor_) {
    tensors.push(tree as Tensor);
    return `${tree.dtype}[${tree.shape}]`;
  }
  if (Array.isArray(tree)) return `(${tree.map((item) => flatten(item, tensors)).join(" ")})`;
  if (isPlainObject(tree)) {
    return `{${Object.keys(tree)
      .map((key) => `${key}:${flatten(tree[key], tensors)}`)
      .join(" ")}}`;
  }
  if (typeof tree === "object" && tree !== null) return objectKey(tree);
  return typeof tree === "string" ? JSON.stringify(tree) : String(tree);
}

/** Variables and other objects are static arguments: told apart by identity. */
const objectKeys = new WeakMap<object, string>();
let objectCount = 0;
function objectKey(object: object): string {
  const known = objectKeys.get(object);
  if (known) return known;
  const key = `#${++objectCount}`;
  objectKeys.set(object, key);
  return key;
}

export function mapTensors(tree: unknown, f: (tensor: Tensor) => unknown): unknown {
  if (tree instanceof Tensor_) return f(tree as Tensor);
  if (Array.isArray(tree)) return tree.map((item) => mapTensors(item, f));
  if (isPlainObject(tree))
    return Object.fromEntries(Object.entries(tree).map(([key, value]) => [key, mapTensors(value, f)]));
  return tree;
}

/** Collects a result's tensors and remembers its structure; static values of the first run are kept. */
export function template(tree: unknown, tensors: Tensor[]): (values: Tensor[]) => unknown {
  const indexes = mapTensors(tree, (tensor) => new Slot(tensors.push(tensor) - 1));
  const fill = (node: unknown, values: Tensor[]): unknown => {
    if (node instanceof Slot) return values[node.index];
    if (Array.isArray(node)) return node.map((item) => fill(item, values));
    if (isPlainObject(node))
      return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, fill(value, values)]));
    return node;
  };
  return (values) => fill(indexes, values);
}

class Slot {
  readonly index: number;
  constructor(index: number) {
    this.index = index;
  }
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

export function dtypeNumber(tensor: Tensor): number {
  const known: Record<string, number> = {
    float32: DataType.float,
    int32: DataType.int32,
    bool: DataType.bool,
  };
  const dtype = known[tensor.dtype];
  if (dtype === undefined) throw new TraceError(`jit: arguments of type ${tensor.dtype} are not supported`);
  return dtype;
}
