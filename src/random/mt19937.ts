/** Mersenne Twister with PyTorch's way of drawing from it, so that a seed gives the same decisions as there. */

const SIZE = 624;
const SHIFT = 397;

/**
 * The stream of `torch.Generator("cpu").manual_seed(seed)`: MT19937 (Matsumoto & Nishimura 1998), 32-bit seeding.
 * The state can be saved in a checkpoint and restored, so that a resumed run goes on with the same draws.
 */
export class TorchGenerator {
  private words = new Uint32Array(SIZE);
  private position = SIZE;

  /** @param seed integer; only its low 32 bits count, as in PyTorch */
  constructor(seed: number) {
    this.seed(seed);
  }

  /** Starts the stream of `seed` from its beginning. */
  seed(seed: number): void {
    if (!Number.isSafeInteger(seed)) throw new RangeError(`a seed must be an integer, got ${seed}`);
    const words = this.words;
    words[0] = Number(BigInt.asUintN(32, BigInt(seed)));
    for (let i = 1; i < SIZE; i++) {
      const previous = words[i - 1] ^ (words[i - 1] >>> 30);
      words[i] = Math.imul(1812433253, previous) + i;
    }
    this.position = SIZE;
  }

  /** Uniform in [0, 1), one of 2^24 values: `torch.rand(1, generator=g).item()`. */
  rand(): number {
    return (this.uint32() & 0xffffff) / 0x1000000;
  }

  /** Uniform integer in [0, n), 1 <= n <= 2^32: `torch.randint(n, (1,), generator=g).item()`. */
  randint(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new RangeError(`randint(n) needs an integer 1 <= n <= 2^32, got ${n}`);
    }
    return this.uint32() % n;
  }

  /** The next 32 random bits. */
  uint32(): number {
    if (this.position === SIZE) this.refill();
    let y = this.words[this.position++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  }

  /** The 624 words followed by the position within them: plain numbers, ready for JSON. */
  state(): number[] {
    return [...this.words, this.position];
  }

  /** Continues exactly where `state()` was taken. */
  restore(state: readonly number[]): void {
    const position = state[SIZE];
    const valid =
      state.length === SIZE + 1 &&
      state.every((word) => Number.isInteger(word) && word >= 0 && word < 2 ** 32) &&
      position <= SIZE;
    if (!valid)
      throw new RangeError("not a saved state of a TorchGenerator: 624 words and a position expected");
    this.words.set(state.slice(0, SIZE));
    this.position = position;
  }

  private refill(): void {
    const words = this.words;
    for (let i = 0; i < SIZE; i++) {
      const y = (words[i] & 0x80000000) | (words[(i + 1) % SIZE] & 0x7fffffff);
      words[i] = words[(i + SHIFT) % SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.position = 0;
  }
}
