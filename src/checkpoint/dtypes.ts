/** The number formats of tensors in files, as typed arrays; half precision is converted here. */

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** By safetensors' names. F16 and BF16 are held as bit patterns in a Uint16Array, BOOL as 0 and 1. */
const ARRAYS = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  U16: Uint16Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

export type Dtype = keyof typeof ARRAYS;

export function isDtype(name: unknown): name is Dtype {
  return typeof name === "string" && Object.hasOwn(ARRAYS, name);
}

/** Bytes per element. */
export function bytesOf(dtype: Dtype): number {
  return ARRAYS[dtype].BYTES_PER_ELEMENT;
}

/** The number of elements of a shape; 1 for a scalar. */
export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Little-endian bytes -> the dtype's own typed array (a view). */
export function arrayOf(dtype: Dtype, bytes: ArrayBuffer): TypedArray {
  return new ARRAYS[dtype](bytes);
}

/** Any of the floating dtypes, or I64 -> float32; null for the others. */
export function toFloat32(dtype: Dtype, data: TypedArray): Float32Array | null {
  if (dtype === "F32") return data as Float32Array;
  if (dtype === "F64") return Float32Array.from(data as Float64Array);
  if (dtype === "F16") return float16ToFloat32(data as Uint16Array);
  if (dtype === "BF16") return bfloat16ToFloat32(data as Uint16Array);
  if (dtype === "I64") return Float32Array.from(data as BigInt64Array, Number); // counters, as of a batch norm
  return null;
}

/**
 * The bytes of `data` as `dtype`. Takes the dtype's own array, raw bytes (Uint8Array, Buffer), Float32Array for the other
 * floating dtypes, and Int32Array for I64.
 * @throws TypeError for another pair
 */
export function encode(dtype: Dtype, data: TypedArray): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (data instanceof ARRAYS[dtype]) return bytesView(data);
  if (data instanceof Float32Array) {
    if (dtype === "F16") return bytesView(float32ToFloat16(data));
    if (dtype === "BF16") return bytesView(float32ToBfloat16(data));
    if (dtype === "F64") return bytesView(Float64Array.from(data));
  }
  if (data instanceof Int32Array && dtype === "I64") {
    return bytesView(BigInt64Array.from(data, (value) => BigInt(value)));
  }
  throw new TypeError(`a ${data.constructor.name} cannot be stored as ${dtype}`);
}

/** Rounds to nearest, ties to even; beyond 65504 becomes infinity. */
export function float32ToFloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i] >>> 16) & 0x8000;
    const magnitude = bits[i] & 0x7fffffff;
    if (magnitude > 0x7f800000) {
      out[i] = sign | 0x7e00;
    } else if (magnitude >= 0x477ff000) {
      out[i] = sign | 0x7c00;
    } else if (magnitude >= 0x38800000) {
      const rebiased = magnitude - 0x38000000;
      out[i] = sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
    } else if (magnitude > 0x33000000) {
      // subnormal: the mantissa in units of 2^-24
      const mantissa = (magnitude & 0x7fffff) | 0x800000;
      const shift = 126 - (magnitude >>> 23);
      const kept = mantissa >>> shift;
      const rest = mantissa & ((1 << shift) - 1);
      const half = 1 << (shift - 1);
      out[i] = sign | (kept + (rest > half || (rest === half && kept & 1) ? 1 : 0));
    } else {
      out[i] = sign;
    }
  }
  return out;
}

/** Rounds to nearest, ties to even. */
export function float32ToBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const notANumber = (bits[i] & 0x7fffffff) > 0x7f800000;
    out[i] = notANumber ? (bits[i] >>> 16) | 0x40 : (bits[i] + 0x7fff + ((bits[i] >>> 16) & 1)) >>> 16;
  }
  return out;
}

export function float16ToFloat32(halves: Uint16Array): Float32Array {
  const table = float16Table();
  const out = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) out[i] = table[halves[i]];
  return new Float32Array(out.buffer);
}

let float16Values: Uint32Array | undefined;

/** The bits of the float32 of each half: several times faster than computing it anew for every number of a large model. */
function float16Table(): Uint32Array {
  float16Values ??= new Uint32Array(
    Float32Array.from({ length: 1 << 16 }, (_, half) => valueOfHalf(half)).buffer,
  );
  return float16Values;
}

function valueOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

export function bfloat16ToFloat32(halves: Uint16Array): Float32Array {
  const out = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) out[i] = halves[i] << 16;
  return new Float32Array(out.buffer);
}

function bytesView(array: TypedArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
