/** MT19937 with the conventions of PyTorch's CPU generator, so that sampling agrees with AudioCraft's. */

const N = 624;
const M = 397;

export class TorchRandom {
  private state = new Uint32Array(N);
  private next = N;

  /** Only the low 32 bits of the seed count, as in `torch.Generator.manual_seed` on the CPU. */
  constructor(seed: number) {
    const { state } = this;
    state[0] = ((seed % 2 ** 32) + 2 ** 32) % 2 ** 32;
    for (let i = 1; i < N; i++) {
      const previous = state[i - 1] ^ (state[i - 1] >>> 30);
      state[i] = Math.imul(1812433253, previous) + i;
    }
  }

  /** 32 random bits. */
  uint32(): number {
    if (this.next === N) this.refill();
    let y = this.state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** Like `torch.rand(1)` in float32: 24 bits in [0, 1). */
  rand(): number {
    return (this.uint32() & 0xffffff) * 2 ** -24;
  }

  /** Uniform in [0, 1) with 53 bits, for choices among very many. */
  rand53(): number {
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) * 2 ** -53;
  }

  /** Like `torch.randint(n, (1,))`, n < 2^32. */
  randint(n: number): number {
    return this.uint32() % n;
  }

  /** Like `torch.randperm(n)`. */
  permutation(n: number): Uint32Array {
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = 0; i < n - 1; i++) {
      const j = i + (this.uint32() % (n - i));
      const chosen = order[j];
      order[j] = order[i];
      order[i] = chosen;
    }
    return order;
  }

  private refill(): void {
    const { state } = this;
    for (let i = 0; i < N; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
      state[i] = state[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.next = 0;
  }
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
