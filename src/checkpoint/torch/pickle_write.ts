/** Plain values and tensors as a pickle of protocol 2, as torch.save writes it. */
import { type Dtype, elementsOf } from "../dtypes.ts";

/** What `pickle` asks for each tensor that it meets. */
export interface PickledTensor {
  dtype: Dtype;
  shape: readonly number[];
}

/** The storage class that PyTorch has for a dtype. */
const STORAGES: Partial<Record<Dtype, string>> = {
  F32: "FloatStorage",
  F64: "DoubleStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
  I64: "LongStorage",
  I32: "IntStorage",
  I16: "ShortStorage",
  I8: "CharStorage",
  U8: "ByteStorage",
  BOOL: "BoolStorage",
};

const NONE = Buffer.from("N");
const MARK = Buffer.from("(");
const TUPLE = Buffer.from("t");
const REDUCE = Buffer.from("R");
const EMPTY_TUPLE = Buffer.from(")");
const MAX_DEPTH = 200;

/**
 * @param tensorOf whether a value is a tensor, and under which key its storage is in the archive
 * @throws RangeError for a value that has no counterpart, naming where it is
 */
export function pickle(
  value: unknown,
  tensorOf: (value: object) => { tensor: PickledTensor; key: string } | null,
): Buffer {
  const parts: Buffer[] = [Buffer.of(0x80, 2)];
  const emit = (...buffers: Buffer[]) => void parts.push(...buffers);

  function write(node: unknown, path: readonly string[]): void {
    const refuse = (reason: string) => new RangeError(`${path.join(".") || "the value"} ${reason}`);
    if (path.length > MAX_DEPTH) throw refuse("is nested too deeply");
    if (node === null) emit(NONE);
    else if (typeof node === "boolean") emit(Buffer.of(node ? 0x88 : 0x89));
    else if (typeof node === "string") emit(text(node));
    else if (typeof node === "bigint") emit(integer(node));
    else if (typeof node === "number")
      emit(Number.isSafeInteger(node) && !Object.is(node, -0) ? integer(BigInt(node)) : float(node));
    else if (typeof node !== "object") throw refuse(`is a ${typeof node}, which a PyTorch file cannot hold`);
    else {
      const found = tensorOf(node);
      if (found) {
        if (STORAGES[found.tensor.dtype] === undefined) {
          throw refuse(`is a tensor of ${found.tensor.dtype}, for which PyTorch has no storage`);
        }
        emit(...tensor(found.tensor, found.key));
      } else if (Array.isArray(node)) {
        emit(Buffer.from("]("));
        for (const [i, item] of node.entries()) write(item, [...path, String(i)]);
        emit(Buffer.from("e"));
      } else if (node instanceof Map || isPlain(node)) {
        emit(Buffer.from("}("));
        for (const [key, item] of node instanceof Map ? node : Object.entries(node)) {
          write(key, [...path, "(a key)"]);
          write(item, [...path, String(key)]);
        }
        emit(Buffer.from("u"));
      } else throw refuse(`is a ${node.constructor?.name}, which a PyTorch file cannot hold`);
    }
  }

  write(value, []);
  emit(Buffer.from("."));
  return Buffer.concat(parts);
}

function isPlain(node: object): boolean {
  const prototype = Object.getPrototypeOf(node);
  return prototype === null || prototype === Object.prototype;
}

/** A call of `torch._utils._rebuild_tensor_v2` with a reference to the storage. */
function tensor({ dtype, shape }: PickledTensor, key: string): Buffer[] {
  const strides = shape.map((_, axis) => elementsOf(shape.slice(axis + 1)));
  return [
    global("torch._utils", "_rebuild_tensor_v2"),
    MARK,
    MARK,
    text("storage"),
    global("torch", STORAGES[dtype]!),
    text(key),
    text("cpu"),
    integer(BigInt(elementsOf(shape))),
    TUPLE,
    Buffer.from("Q"),
    integer(0n),
    tuple(shape),
    tuple(strides.map((stride) => Math.max(1, stride))),
    Buffer.of(0x89),
    global("collections", "OrderedDict"),
    EMPTY_TUPLE,
    REDUCE,
    TUPLE,
    REDUCE,
  ];
}

function tuple(values: readonly number[]): Buffer {
  return values.length === 0
    ? EMPTY_TUPLE
    : Buffer.concat([MARK, ...values.map((value) => integer(BigInt(value))), TUPLE]);
}

function global(module: string, name: string): Buffer {
  return Buffer.from(`c${module}\n${name}\n`);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const head = Buffer.alloc(5, "X");
  head.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function integer(value: bigint): Buffer {
  if (value >= 0n && value < 256n) return Buffer.of(0x4b, Number(value));
  if (value >= 0n && value < 65536n) return Buffer.of(0x4d, Number(value) & 255, Number(value) >> 8);
  if (BigInt.asIntN(32, value) === value) {
    const bytes = Buffer.alloc(5, "J");
    bytes.writeInt32LE(Number(value), 1);
    return bytes;
  }
  // LONG1: two's complement, with room for the sign
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push(Number(rest & 255n));
    rest >>= 8n;
  } while (rest !== (bytes.at(-1)! & 128 ? -1n : 0n));
  return Buffer.of(0x8a, bytes.length, ...bytes);
}

function float(value: number): Buffer {
  const bytes = Buffer.alloc(9, "G");
  bytes.writeDoubleBE(value, 1);
  return bytes;
}
