/** The names that a PyTorch file may mention: what makes tensors, containers and configs, all of it turned into data. */
import { UserError } from "../../errors.ts";
import { bytesOf, type Dtype } from "../dtypes.ts";
import { CALLS, OBJECTS, PyObject, TORCH_DTYPES, TypedStorage } from "./calls.ts";
import { NumpyArray, NumpyDtype, setNumpyState } from "./numpy.ts";
import { MAX_PICKLE_BYTES, type PickleWorld } from "./pickle.ts";
import { isDict, PyGlobal } from "./pickle_values.ts";
import { type Storage, TorchTensor } from "./tensor.ts";

/** Finds a storage by its key. @param bytes the size that the pickle says it has @throws UserError */
export type FindStorage = (key: string, bytes: number, dtype: Dtype) => Storage;

const STORAGE_DTYPES: Record<string, Dtype> = {
  FloatStorage: "F32",
  DoubleStorage: "F64",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
  UntypedStorage: "U8",
};

/** Names that are only mentioned, such as types in the metadata of a config. */
const MENTIONED = new Set([
  ...Object.keys(TORCH_DTYPES),
  ...["Any", "Union", "Optional", "Dict", "List", "Tuple"].map((name) => `typing.${name}`),
  ...["dict", "list", "tuple", "int", "float", "bool", "str", "bytes", "object", "NoneType"].map(
    (name) => `builtins.${name}`,
  ),
  ...[
    "torch.nn.parameter.Parameter",
    "torch.Tensor",
    "torch._tensor.Tensor",
    "torch.strided",
    "numpy.ndarray",
  ],
]);

/** Python 2 names, which protocol 2 keeps, and names that moved. */
const ALIASES: Record<string, string> = {
  "__builtin__.long": "builtins.int",
  "__builtin__.unicode": "builtins.str",
  "_operator.getitem": "operator.getitem",
  "numpy.core.multiarray.scalar": "numpy._core.multiarray.scalar",
  "numpy.core.multiarray._reconstruct": "numpy._core.multiarray._reconstruct",
  "numpy.core.numeric._frombuffer": "numpy._core.numeric._frombuffer",
};

/** What calls may read in all: as much as a pickle is long, were each of its bytes read once. */
const MAX_CALL_COST = MAX_PICKLE_BYTES;

/** The world of PyTorch files whose storages `findStorage` finds. */
export function torchWorld(findStorage: FindStorage): PickleWorld {
  let cost = 0;
  return {
    global(id) {
      if (id.length > 200) throw new UserError("a name of Python is absurdly long");
      const name = canonical(id);
      if (storageDtype(name) || OBJECTS.has(name) || MENTIONED.has(name) || Object.hasOwn(CALLS, name)) {
        return new PyGlobal(name);
      }
      throw new UserError(refusal(id));
    },
    call({ id }, args) {
      // a stored value can be handed over again and again
      cost += args.length;
      if (cost <= MAX_CALL_COST) for (const arg of args) cost += lengthOf(arg);
      if (cost > MAX_CALL_COST) throw new UserError("its calls copy too much");
      if (Object.hasOwn(CALLS, id)) return CALLS[id](args);
      if (OBJECTS.has(id)) return new PyObject(id);
      throw new UserError(`"${id}" is called, which is not accepted`);
    },
    build(target, state) {
      if (target instanceof PyObject) setState(target, state);
      else if (target instanceof NumpyArray || target instanceof NumpyDtype) setNumpyState(target, state);
      // the attributes of an OrderedDict (versions of modules) and of a Parameter are of no use here
      else if (!isDict(target) && !(target instanceof TorchTensor)) {
        throw new UserError("the state of something is set that has none");
      }
    },
    persistent: (id) => persistentStorage(id, findStorage),
  };
}

function lengthOf(value: unknown): number {
  return typeof value === "string" || Array.isArray(value) || value instanceof Uint8Array ? value.length : 1;
}

function canonical(id: string): string {
  const name = ALIASES[id] ?? id;
  return name.replace(/^__builtin__\./, "builtins.").replace(/^copy_reg\./, "copyreg.");
}

function refusal(id: string): string {
  if (
    /^torch(\.\w+)*\.Complex\w+Storage$/.test(id) ||
    /^torch\.(Q\w+Storage|_utils\._rebuild_\w+)$/.test(id)
  ) {
    return `the file holds tensors of a kind that is not supported (${id}); convert them to dense numbers in PyTorch`;
  }
  return (
    `the file asks Python for ${JSON.stringify(id)}, which is not in the list of what is accepted: a file of weights needs no other code. ` +
    "If you trust it, load it in PyTorch and save its state_dict alone"
  );
}

function storageDtype(name: string): Dtype | undefined {
  const [, storage] = /^torch(?:\.cuda|\.storage)?\.(\w+)$/.exec(name) ?? [];
  return storage !== undefined && Object.hasOwn(STORAGE_DTYPES, storage)
    ? STORAGE_DTYPES[storage]
    : undefined;
}

/** ("storage", class, key, device, number of elements[, view of an old file]) */
function persistentStorage(id: unknown, findStorage: FindStorage): TypedStorage {
  const [kind, cls, key, , elements, view] = Array.isArray(id) ? id : [];
  const dtype = cls instanceof PyGlobal ? storageDtype(cls.id) : undefined;
  if (
    kind !== "storage" ||
    dtype === undefined ||
    typeof key !== "string" ||
    key.length > 200 ||
    !isSize(elements)
  ) {
    throw new UserError("a reference to a storage is malformed");
  }
  if (view !== undefined && view !== null) {
    throw new UserError(
      "it has views of storages as PyTorch before 0.4 wrote them; save it again with a newer one",
    );
  }
  return new TypedStorage(findStorage(key, elements * bytesOf(dtype), dtype), dtype);
}

/** Python's default: the state is a dict of attributes, or a pair of it and those in slots. */
function setState(target: PyObject, state: unknown): void {
  const dicts = Array.isArray(state) && state.length === 2 ? state : [state];
  if (!dicts.every((part) => part === null || isDict(part))) {
    throw new UserError(`the state of a ${target.type} is no dict`);
  }
  target.states = dicts.filter(isDict);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
