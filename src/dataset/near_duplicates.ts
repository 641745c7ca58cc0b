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
/** Words of a file by which it can be found: all of a short one, some of a long one. */
const INDEXED_WORDS = 128;

/** Groups of at least two numbers of files that sound the same. */
export function nearDuplicates(fingerprints: readonly Uint32Array[]): number[][] {
  const groups = new Groups(fingerprints.length);
  const index = new WordIndex(fingerprints);
  for (const [file, words] of fingerprints.entries())
    for (const [other, offset] of candidates(file, words, index))
      if (isSame(words, fingerprints[other], offset)) groups.join(file, other);
  return groups.list();
}

/** Earlier files that have words of this one at the same distance from each other, with the offset into them. */
function candidates(file: number, words: Uint32Array, index: WordIndex): [number, number][] {
  const votes = new Map<number, Map<number, number>>();
  for (const [position, word] of words.entries())
    for (const [other, otherPosition] of word === 0 ? [] : index.places(word)) {
      if (other >= file) continue;
      const offsets = votes.get(other) ?? new Map<number, number>();
      votes.set(other, offsets);
      const offset = otherPosition - position;
      offsets.set(offset, (offsets.get(offset) ?? 0) + 1);
    }
  return [...votes].flatMap(([other, offsets]) => {
    const [offset, count] = [...offsets].reduce((best, vote) => (vote[1] > best[1] ? vote : best));
    return count >= MIN_VOTES ? [[other, offset] as [number, number]] : [];
  });
}

/** Where words are: sorted numbers in flat arrays, as there are millions. */
class WordIndex {
  /** Word and number of its place, sorted by word: pairs of 32 bits, the word above. */
  private readonly sorted: Uint32Array;
  private readonly files: Uint32Array;
  private readonly positions: Uint32Array;

  constructor(fingerprints: readonly Uint32Array[]) {
    const steps = fingerprints.map((words) => Math.max(1, Math.ceil(words.length / INDEXED_WORDS)));
    const count = fingerprints.reduce((sum, words, file) => sum + Math.ceil(words.length / steps[file]), 0);
    this.files = new Uint32Array(count);
    this.positions = new Uint32Array(count);
    this.sorted = new Uint32Array(2 * count);
    let place = 0;
    for (const [file, words] of fingerprints.entries())
      for (let position = 0; position < words.length; position += steps[file]) {
        this.files[place] = file;
        this.positions[place] = position;
        this.sorted[2 * place] = place;
        this.sorted[2 * place + 1] = words[position];
        place++;
      }
    // Little-endian: the second of two words is the higher one.
    new BigUint64Array(this.sorted.buffer).sort();
  }

  /** File and position of a word, none if it is too frequent. */
  places(word: number): [number, number][] {
    const { sorted } = this;
    let low = 0;
    let high = sorted.length / 2;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sorted[2 * middle + 1] < word) low = middle + 1;
      else high = middle;
    }
    const found: [number, number][] = [];
    for (; sorted[2 * low + 1] === word; low++) {
      if (found.length === MAX_PLACES) return [];
      found.push([this.files[sorted[2 * low]], this.positions[sorted[2 * low]]]);
    }
    return found;
  }
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
