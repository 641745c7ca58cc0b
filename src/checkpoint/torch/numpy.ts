/** NumPy scalars and arrays inside of a pickle. */
import { UserError } from "../../errors.ts";
import { bytesOf, type Dtype, elementsOf } from "../dtypes.ts";
import { type Storage, TorchTensor } from "./tensor.ts";

const DTYPES: Record<string, Dtype> = {
  f8: "F64",
  f4: "F32",
  f2: "F16",
  i8: "I64",
  i4: "I32",
  i2: "I16",
  i1: "I8",
  u8: "U64",
  u4: "U32",
  u2: "U16",
  u1: "U8",
  b1: "BOOL",
};

/** A NumPy number type; its byte order comes as its state. */
export class NumpyDtype {
  readonly code: string;
  bigEndian = false;

  constructor(code: string) {
    this.code = code;
  }
}

/** An array that gets its content as its state. */
export class NumpyArray {
  tensor: TorchTensor | null = null;
}

export function setNumpyState(target: NumpyDtype | NumpyArray, state: unknown): void {
  if (!Array.isArray(state)) throw new UserError("the state of a NumPy object is malformed");
  if (target instanceof NumpyDtype) {
    target.bigEndian = state[1] === ">";
  } else {
    const [, shape, dtype, fortran, bytes] = state;
    target.tensor = numpyArray(bytes, dtype, shape, fortran === true);
  }
}

export function numpyScalar(dtype: unknown, bytes: unknown): unknown {
  const array = numpyArray(bytes, dtype, [], false);
  const [value] = array.read();
  if (array.dtype === "BOOL") return value !== 0;
  if (array.dtype === "F16") throw new UserError("a NumPy scalar of 2 bytes is not supported");
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** @param fortran whether the first axis runs fastest */
export function numpyArray(bytes: unknown, dtype: unknown, shape: unknown, fortran: boolean): TorchTensor {
  const code = dtype instanceof NumpyDtype && !dtype.bigEndian ? dtype.code.replace(/^[<|=]/, "") : "";
  if (!Object.hasOwn(DTYPES, code)) {
    throw new UserError("a NumPy array holds something else than little-endian numbers");
  }
  if (!(bytes instanceof Uint8Array) || !isShape(shape)) {
    throw new UserError("the content of a NumPy array is malformed");
  }
  const known = DTYPES[code];
  const order = fortran ? shape : [...shape].reverse();
  let stride = 1;
  const strides = order.map((size) => {
    const own = stride;
    stride *= Math.max(1, size);
    return own;
  });
  if (elementsOf(shape) * bytesOf(known) !== bytes.length) {
    throw new UserError(`a NumPy array has ${bytes.length} bytes, which do not fit its shape`);
  }
  return new TorchTensor(memory(bytes), known, 0, shape, fortran ? strides : strides.reverse());
}

function isShape(shape: unknown): shape is number[] {
  return (
    Array.isArray(shape) &&
    shape.length <= 32 &&
    shape.every((size) => Number.isSafeInteger(size) && size >= 0)
  );
}

function memory(bytes: Uint8Array): Storage {
  return {
    bytes: bytes.length,
    read: (begin, length) => Uint8Array.from(bytes.subarray(begin, begin + length)),
  };
}
