/** Draws that sampling needs beyond those of the generator itself. */
import type { TorchGenerator } from "../random/mt19937.ts";

/** Uniform in [0, 1) with 53 bits, for choices among very many. */
export function rand53(generator: TorchGenerator): number {
  return ((generator.uint32() >>> 5) * 2 ** 26 + (generator.uint32() >>> 6)) * 2 ** -53;
}

/** The numbers below n in random order, like `torch.randperm(n, generator=g)`. */
export function permutation(generator: TorchGenerator, n: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  for (let i = 0; i < n - 1; i++) {
    const j = i + (generator.uint32() % (n - i));
    const chosen = order[j];
    order[j] = order[i];
    order[i] = chosen;
  }
  return order;
}

/** One 32-bit seed out of several numbers, for streams that must not repeat each other (FNV-1a over their 32-bit words). */
export function mixSeed(...parts: number[]): number {
  let hash = 0x811c9dc5;
  for (const part of parts)
    for (const word of [part % 2 ** 32, Math.floor(part / 2 ** 32)])
      for (let shift = 0; shift < 32; shift += 8)
        hash = Math.imul(hash ^ ((word >>> shift) & 255), 0x01000193);
  return hash >>> 0;
}
