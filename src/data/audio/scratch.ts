/**
 * Memory for samples on their way from a file to a batch. Fresh memory of this size costs more than the arithmetic done in it
 * (the system clears every page), so that each thread uses the same arrays again and again.
 */

const MAX_KEPT = 16;
const MAX_KEPT_BYTES = 1 << 24;
/** Free memory of this thread. */
const free: ArrayBuffer[] = [];

/** `length` samples with whatever was there before. They are the caller's, who may give them back. */
export function borrow(length: number): Float32Array<ArrayBuffer> {
  const at = free.findIndex(({ byteLength }) => byteLength >= 4 * length && byteLength <= 8 * length + 4096);
  // A little more than asked for, so that segments one sample longer fit as well.
  const buffer = at >= 0 ? free.splice(at, 1)[0] : new ArrayBuffer(4 * length + 4096);
  return new Float32Array(buffer, 0, length);
}

/** Nobody may use `samples` from here on. */
export function giveBack({ buffer }: Float32Array<ArrayBuffer>): void {
  if (buffer.byteLength > MAX_KEPT_BYTES) return;
  if (free.length === MAX_KEPT) free.shift();
  free.push(buffer);
}

/** Arrays that are given back together. */
export class Scratch {
  private taken: Float32Array<ArrayBuffer>[] = [];

  floats(length: number): Float32Array<ArrayBuffer> {
    const samples = borrow(length);
    this.taken.push(samples);
    return samples;
  }

  release(): void {
    for (const samples of this.taken) giveBack(samples);
    this.taken = [];
  }
}

/** `length` samples out of `scratch`, or fresh ones. */
export function floats(length: number, scratch: Scratch | undefined): Float32Array<ArrayBuffer> {
  return scratch ? scratch.floats(length) : new Float32Array(length);
}
