/** Tensors of PyTorch files: views of storages that lie in the file. */
import { UserError } from "../../errors.ts";
import { arrayOf, bytesOf, type Dtype, elementsOf, type TypedArray } from "../dtypes.ts";

/** Bytes that tensors are views of. */
export interface Storage {
  readonly bytes: number;
  /** Fresh bytes of a part. */
  read(begin: number, length: number): Uint8Array<ArrayBuffer>;
}

const MAX_AXES = 32;
/** An expanded tensor (stride 0) may have more elements than its storage, but no more than these. */
const MAX_EXPANDED_BYTES = 64 << 20;
/** A scattered view is read in one piece when the piece is not larger than this, or than twice the view. */
const MAX_PIECE_BYTES = 16 << 20;

export class TorchTensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** In elements, as is the offset. */
  readonly strides: readonly number[];
  readonly offset: number;
  readonly storage: Storage;

  /** @throws UserError when the view is not within the storage */
  constructor(
    storage: Storage,
    dtype: Dtype,
    offset: number,
    shape: readonly number[],
    strides: readonly number[],
  ) {
    const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
    if (shape.length !== strides.length || shape.length > MAX_AXES) {
      throw new UserError(`a tensor has ${shape.length} axes and ${strides.length} strides`);
    }
    if (![offset, ...shape, ...strides].every(isSize)) {
      throw new UserError("a tensor has sizes, strides or an offset that are negative or no numbers");
    }
    const view = `shape [${shape}], strides [${strides}], offset ${offset}`;
    const elements = elementsOf(shape);
    const end = elements === 0 ? 0 : offset + spanOf(shape, strides);
    if (end * bytesOf(dtype) > storage.bytes) {
      throw new UserError(
        `a tensor (${dtype}, ${view}) needs ${end * bytesOf(dtype)} bytes, its storage has ${storage.bytes}`,
      );
    }
    if (elements * bytesOf(dtype) > Math.max(storage.bytes, MAX_EXPANDED_BYTES)) {
      throw new UserError(
        `a tensor (${dtype}, ${view}) would expand ${storage.bytes} bytes to ${elements * bytesOf(dtype)}`,
      );
    }
    this.storage = storage;
    this.dtype = dtype;
    this.offset = offset;
    this.shape = [...shape];
    this.strides = [...strides];
  }

  /** The values in row-major order, freshly read; F16 and BF16 as bit patterns. */
  read(): TypedArray {
    const elements = elementsOf(this.shape);
    if (elements === 0) return arrayOf(this.dtype, new ArrayBuffer(0));
    if (isContiguous(this.shape, this.strides)) return this.piece(this.offset, elements);
    const out = arrayOf(this.dtype, new ArrayBuffer(elements * bytesOf(this.dtype)));
    this.gather(out, 0, 0, this.offset);
    return out;
  }

  private piece(offset: number, elements: number): TypedArray {
    const width = bytesOf(this.dtype);
    return arrayOf(this.dtype, this.storage.read(offset * width, elements * width).buffer);
  }

  /** Copies the part of the view that has its first `axis` coordinates fixed to `out`, from `position` on. */
  private gather(out: TypedArray, position: number, axis: number, offset: number): void {
    const shape = this.shape.slice(axis);
    const strides = this.strides.slice(axis);
    const span = spanOf(shape, strides);
    const elements = elementsOf(shape);
    if (span * bytesOf(this.dtype) <= MAX_PIECE_BYTES || span <= 2 * elements) {
      copyView(this.piece(offset, span), out, position, shape, strides);
      return;
    }
    for (let i = 0; i < shape[0]; i++) {
      this.gather(out, position + i * (elements / shape[0]), axis + 1, offset + i * strides[0]);
    }
  }
}

/** From the first to the last element of a view, both included. */
function spanOf(shape: readonly number[], strides: readonly number[]): number {
  return shape.reduce((span, size, axis) => span + (size - 1) * strides[axis], 1);
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis];
  }
  return true;
}

/** Copies a view that begins at the first element of `from` to `out`, row by row. */
function copyView(
  from: TypedArray,
  out: TypedArray,
  position: number,
  shape: readonly number[],
  strides: readonly number[],
): void {
  const last = shape.length - 1;
  const rowLength = last < 0 ? 1 : shape[last];
  const rowStride = last < 0 ? 1 : strides[last];
  const rows = elementsOf(shape) / rowLength;
  const index = new Array<number>(Math.max(0, last)).fill(0);
  let start = 0;
  for (let row = 0; row < rows; row++) {
    const target = position + row * rowLength;
    for (let i = 0; i < rowLength; i++) out[target + i] = from[start + i * rowStride];
    for (let axis = last - 1; axis >= 0; axis--) {
      start += strides[axis];
      if (++index[axis] < shape[axis]) break;
      start -= shape[axis] * strides[axis];
      index[axis] = 0;
    }
  }
}
