/** The calls that a PyTorch file may make, as functions of ours that make data. */
import { UserError } from "../../errors.ts";
import type { Dtype } from "../dtypes.ts";
import { NumpyArray, NumpyDtype, numpyArray, numpyScalar } from "./numpy.ts";
import { type Dict, emptyDict, isDict, PyGlobal, setKey } from "./pickle_values.ts";
import { type Storage, TorchTensor } from "./tensor.ts";

/** An instance of a class: its name and its attributes. */
export class PyObject {
  /** "module.name" of its class. */
  readonly type: string;
  /** Dicts of attributes. They are not copied: a hostile file may set a large one on many objects. */
  states: Dict[] = [];

  constructor(type: string) {
    this.type = type;
  }
}

/** A storage with the element type that the pickle says it has. */
export class TypedStorage {
  readonly storage: Storage;
  readonly dtype: Dtype;

  constructor(storage: Storage, dtype: Dtype) {
    this.storage = storage;
    this.dtype = dtype;
  }
}

export const TORCH_DTYPES: Record<string, Dtype> = {
  "torch.float32": "F32",
  "torch.float64": "F64",
  "torch.float16": "F16",
  "torch.bfloat16": "BF16",
  "torch.int64": "I64",
  "torch.int32": "I32",
  "torch.int16": "I16",
  "torch.int8": "I8",
  "torch.uint8": "U8",
  "torch.uint16": "U16",
  "torch.uint32": "U32",
  "torch.uint64": "U64",
  "torch.bool": "BOOL",
};

/** Classes whose instances are kept as their attributes. */
export const OBJECTS = new Set([
  "argparse.Namespace",
  "omegaconf.dictconfig.DictConfig",
  "omegaconf.listconfig.ListConfig",
  ...["ContainerMetadata", "Metadata"].map((name) => `omegaconf.base.${name}`),
  ...[
    "AnyNode",
    "StringNode",
    "IntegerNode",
    "FloatNode",
    "BooleanNode",
    "BytesNode",
    "PathNode",
    "UnionNode",
  ].map((name) => `omegaconf.nodes.${name}`),
  "omegaconf.base.UnionNode",
]);

type Call = (args: unknown[]) => unknown;

export const CALLS: Record<string, Call> = {
  "torch._utils._rebuild_tensor": rebuildTensor,
  "torch._utils._rebuild_tensor_v2": rebuildTensor,
  "torch._utils._rebuild_tensor_v3": rebuildTensorV3,
  "torch._utils._rebuild_parameter": ([tensor]) => expectTensor(tensor),
  "torch._utils._rebuild_parameter_with_state": ([tensor]) => expectTensor(tensor),
  "torch._tensor._rebuild_from_type_v2": rebuildFromType,
  "torch.Size": ([sizes]) => [...expectList(sizes ?? [])],
  "torch.device": (args) => expectPlain(args).join(":"),
  "torch.serialization._get_layout": ([layout]) => expectText(layout),
  "torch.torch_version.TorchVersion": ([version]) => expectText(version),
  "collections.OrderedDict": ([pairs]) => dictOf(pairs),
  "collections.defaultdict": () => emptyDict(),
  "collections.Counter": ([counts]) => dictOf(counts),
  "builtins.set": ([items]) => [...expectList(items ?? [])],
  "builtins.frozenset": ([items]) => [...expectList(items ?? [])],
  "builtins.bytearray": ([bytes]) => expectBytes(bytes),
  "_codecs.encode": ([text]) => Uint8Array.from(Buffer.from(expectText(text), "latin1")),
  "operator.getitem": ([generic]) => mentionedType(generic),
  "copyreg._reconstructor": ([cls]) => makeObject(cls),
  "numpy._core.multiarray.scalar": ([dtype, bytes]) => numpyScalar(dtype, bytes),
  "numpy._core.multiarray._reconstruct": () => new NumpyArray(),
  "numpy._core.numeric._frombuffer": ([bytes, dtype, shape, order]) =>
    numpyArray(expectBytes(bytes), dtype, expectList(shape), order === "F"),
  "numpy.dtype": ([code]) => new NumpyDtype(expectText(code)),
  ...Object.fromEntries(
    ["PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"].flatMap((name) => [
      [`pathlib.${name}`, joinPath],
      [`pathlib._local.${name}`, joinPath],
    ]),
  ),
};

/** (storage, offset, shape, strides, requires_grad, hooks, …) */
function rebuildTensor([storage, offset, shape, strides]: unknown[]): TorchTensor {
  if (!(storage instanceof TypedStorage))
    throw new UserError("a tensor is made of something that is no storage");
  return new TorchTensor(
    storage.storage,
    storage.dtype,
    offset as number,
    expectList(shape) as number[],
    expectList(strides) as number[],
  );
}

/** As v2, with the dtype after the hooks: for those that have no storage class of their own. */
function rebuildTensorV3([storage, offset, shape, strides, , , dtype]: unknown[]): TorchTensor {
  const name = dtype instanceof PyGlobal ? TORCH_DTYPES[dtype.id] : undefined;
  if (!(storage instanceof TypedStorage) || name === undefined) throw new UserError("a tensor has no dtype");
  return rebuildTensor([new TypedStorage(storage.storage, name), offset, shape, strides]);
}

/** (function, class, arguments, attributes): a tensor of a subclass, here always a plain one. */
function rebuildFromType([call, , args]: unknown[]): TorchTensor {
  if (!(call instanceof PyGlobal) || !/^torch\._utils\._rebuild_(tensor|parameter)/.test(call.id)) {
    throw new UserError("a tensor is rebuilt by something else");
  }
  return expectTensor(CALLS[call.id](expectList(args)));
}

function makeObject(cls: unknown): PyObject {
  if (cls instanceof PyGlobal && OBJECTS.has(cls.id)) return new PyObject(cls.id);
  throw new UserError("an object of a class that is not accepted is made");
}

function mentionedType(generic: unknown): PyGlobal {
  if (generic instanceof PyGlobal && generic.id.startsWith("typing.")) return generic;
  throw new UserError("an item of something is asked for that is no type");
}

function dictOf(pairs: unknown): Dict {
  if (isDict(pairs)) return pairs;
  const dict = emptyDict();
  for (const pair of expectList(pairs ?? [])) {
    const [key, value] = expectList(pair);
    setKey(dict, key, value);
  }
  return dict;
}

function joinPath(parts: unknown[]): string {
  return expectPlain(parts)
    .join("/")
    .replace(/^\/\/+/, "/");
}

function expectPlain(values: unknown[]): (string | number)[] {
  if (values.every((value) => typeof value === "string" || typeof value === "number"))
    return values as string[];
  throw new UserError("text was expected");
}

function expectTensor(value: unknown): TorchTensor {
  if (value instanceof TorchTensor) return value;
  throw new UserError("a tensor was expected");
}

function expectText(value: unknown): string {
  if (typeof value === "string") return value;
  throw new UserError("text was expected");
}

function expectList(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  throw new UserError("a list was expected");
}

function expectBytes(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new UserError("bytes were expected");
}
