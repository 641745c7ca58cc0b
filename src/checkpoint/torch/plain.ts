/** The value of a pickle as a plain tree: dicts, lists, text, numbers and tensors; configs of OmegaConf as the plain config. */
import { UserError } from "../../errors.ts";
import { PyObject, TypedStorage } from "./calls.ts";
import { NumpyArray, NumpyDtype } from "./numpy.ts";
import { type Dict, emptyDict, isDict, PyGlobal, setKey } from "./pickle_values.ts";
import { TorchTensor } from "./tensor.ts";

/**
 * Dicts are objects without a prototype (keys as text), lists, tuples and sets are arrays, integers beyond 2^53 are bigint.
 */
export type TorchValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | TorchTensor
  | TorchValue[]
  | { [key: string]: TorchValue };

const MAX_DEPTH = 200;
/** Parts that are shared count as often as they are met. */
const MAX_NODES = 5_000_000;

/** @throws UserError when the value contains itself, nests too deeply, or is too large once shared parts are written out */
export function plainTree(value: unknown): TorchValue {
  const done = new Map<object, { plain: TorchValue; nodes: number }>();
  const open = new Set<object>();
  let nodes = 0;

  function visit(node: unknown): TorchValue {
    if (++nodes > MAX_NODES) throw new UserError(`its content has more than ${MAX_NODES} parts`);
    if (typeof node !== "object" || node === null) return node as TorchValue;
    if (node instanceof TorchTensor || node instanceof Uint8Array) return node;
    const known = done.get(node);
    if (known) {
      nodes += known.nodes;
      return known.plain;
    }
    if (open.has(node)) throw new UserError("its content contains itself");
    if (open.size >= MAX_DEPTH) throw new UserError(`its content is nested more than ${MAX_DEPTH} deep`);
    open.add(node);
    const before = nodes;
    const plain = expand(node);
    open.delete(node);
    done.set(node, { plain, nodes: nodes - before });
    return plain;
  }

  function expand(node: object): TorchValue {
    if (Array.isArray(node)) return node.map(visit);
    if (isDict(node)) return mapDict(node);
    if (node instanceof PyGlobal) return node.id;
    if (node instanceof NumpyArray && node.tensor) return node.tensor;
    if (node instanceof NumpyDtype) return node.code;
    if (node instanceof PyObject) return node.type.startsWith("omegaconf.") ? config(node) : attributes(node);
    if (node instanceof TypedStorage) throw new UserError("it holds a storage outside of a tensor");
    throw new UserError("its content is incomplete");
  }

  function mapDict(dict: Dict): { [key: string]: TorchValue } {
    const plain = emptyDict() as { [key: string]: TorchValue };
    for (const key of Object.keys(dict)) plain[key] = visit(dict[key]);
    return plain;
  }

  function attributes(object: PyObject): TorchValue {
    const all = emptyDict();
    for (const part of object.states) for (const key of Object.keys(part)) setKey(all, key, part[key]);
    return mapDict(all);
  }

  /** Containers hold nodes in `_content` (or null, or the text of an interpolation or of "???"), leaves a value in `_val`. */
  function config(node: PyObject): TorchValue {
    for (const key of ["_content", "_val"]) {
      const holder = node.states.find((part) => key in part);
      if (holder) return visit(holder[key]);
    }
    // the metadata of a config, should it stand alone
    return null;
  }

  return visit(value);
}
