/** Finds files whose beginnings sound the same, by their fingerprints. */

/** Fewer words that agree would be a coincidence. */
const MIN_VOTES = 3;
/** Overlap in words (46 ms each) that is compared, unless a file is shorter. */
const MIN_OVERLAP = 60;
const MIN_OVERLAP_SHORT = 20;
/** Share of bits in which the same music differs at most; unrelated music differs in half of them. */
const MAX_BIT_ERRORS = 0.25;
/** A word that so many places have says nothing. */
const MAX_PLACES = 40;

/** Groups of at least two numbers of files that sound the same. */
export function nearDuplicates(fingerprints: readonly Uint32Array[]): number[][] {
  const groups = new Groups(fingerprints.length);
  /** Word -> (file, position), two numbers each. */
  const places = new Map<number, number[]>();
  for (const [file, words] of fingerprints.entries()) {
    for (const [other, offset] of candidates(words, places))
      if (isSame(words, fingerprints[other], offset)) groups.join(file, other);
    for (const [position, word] of words.entries()) {
      if (word === 0) continue;
      const known = places.get(word);
      if (!known) places.set(word, [file, position]);
      else if (known.length < 2 * MAX_PLACES) known.push(file, position);
    }
  }
  return groups.list();
}

/** Earlier files that have words of this one at the same distance from each other, with the offset into them. */
function candidates(words: Uint32Array, places: ReadonlyMap<number, number[]>): [number, number][] {
  const votes = new Map<number, Map<number, number>>();
  for (const [position, word] of words.entries()) {
    const known = word === 0 ? undefined : places.get(word);
    if (!known || known.length >= 2 * MAX_PLACES) continue;
    for (let i = 0; i < known.length; i += 2) {
      const offsets = votes.get(known[i]) ?? new Map<number, number>();
      votes.set(known[i], offsets);
      const offset = known[i + 1] - position;
      offsets.set(offset, (offsets.get(offset) ?? 0) + 1);
    }
  }
  return [...votes].flatMap(([file, offsets]) => {
    const [offset, count] = [...offsets].reduce((best, vote) => (vote[1] > best[1] ? vote : best));
    return count >= MIN_VOTES ? [[file, offset] as [number, number]] : [];
  });
}

function isSame(words: Uint32Array, other: Uint32Array, offset: number): boolean {
  const from = Math.max(0, -offset);
  const to = Math.min(words.length, other.length - offset);
  let compared = 0;
  let errors = 0;
  for (let i = from; i < to; i++) {
    if (words[i] === 0 || other[i + offset] === 0) continue;
    compared++;
    errors += bitCount(words[i] ^ other[i + offset]);
  }
  const needed = Math.max(
    MIN_OVERLAP_SHORT,
    Math.min(MIN_OVERLAP, 0.5 * Math.min(words.length, other.length)),
  );
  return compared >= needed && errors <= MAX_BIT_ERRORS * 32 * compared;
}

function bitCount(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** Disjoint sets of the numbers below `count`. */
class Groups {
  private readonly parents: Uint32Array;

  constructor(count: number) {
    this.parents = Uint32Array.from({ length: count }, (_, i) => i);
  }

  join(a: number, b: number): void {
    const [first, second] = [this.root(a), this.root(b)];
    this.parents[Math.max(first, second)] = Math.min(first, second);
  }

  list(): number[][] {
    const groups = new Map<number, number[]>();
    for (let i = 0; i < this.parents.length; i++) {
      const root = this.root(i);
      if (root === i && this.parents[i] === i) groups.set(i, [i]);
      else groups.get(root)!.push(i);
    }
    return [...groups.values()].filter((group) => group.length > 1);
  }

  private root(i: number): number {
    let root = i;
    while (this.parents[root] !== root) root = this.parents[root];
    this.parents[i] = root;
    return root;
  }
}
