/** Figures of how far apart two arrays of numbers are. Different lengths are an error, and NaN never counts as equal. */

type Values = ArrayLike<number>;

/** max |actual - expected| */
export function maxDifference(actual: Values, expected: Values): number {
  return largest(actual, expected, (a, e) => Math.abs(a - e));
}

/** max |actual - expected| / |expected|, with magnitudes below `floor` taken for `floor`. */
export function maxRelative(actual: Values, expected: Values, floor = 1e-30): number {
  return largest(actual, expected, (a, e) => Math.abs(a - e) / Math.max(Math.abs(e), floor));
}

/** max |actual - expected| / max |expected|: for values of one kind, some of which are near 0. */
export function relativeToLargest(actual: Values, expected: Values): number {
  let top = 0;
  for (let i = 0; i < expected.length; i++) top = Math.max(top, Math.abs(expected[i]));
  return maxDifference(actual, expected) / (top > 0 ? top : 1);
}

/** |actual - expected| / |expected|, 2-norms; the absolute distance where all of `expected` is 0. */
export function relativeL2(actual: Values, expected: Values): number {
  const norm = norm2(expected);
  return distance(actual, expected) / (norm > 0 ? norm : 1);
}

/** |actual - expected|, 2-norm. */
export function distance(actual: Values, expected: Values): number {
  sameLength(actual, expected);
  let sum = 0;
  for (let i = 0; i < expected.length; i++) sum += (actual[i] - expected[i]) ** 2;
  return Math.sqrt(sum);
}

export function norm2(values: Values): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] ** 2;
  return Math.sqrt(sum);
}

/** The number of positions that differ; all of the longer one where the lengths do. */
export function mismatches(actual: Values, expected: Values): number {
  if (actual.length !== expected.length) return Math.max(actual.length, expected.length);
  let count = 0;
  for (let i = 0; i < expected.length; i++) if (actual[i] !== expected[i]) count++;
  return count;
}

/**
 * The number of leaves that differ between two trees of plain data (a missing or unexpected one counts as one), and the
 * path of the first.
 */
export function treeMismatches(
  actual: unknown,
  expected: unknown,
  path = "",
): { error: number; worst?: string } {
  if (isBranch(actual) && isBranch(expected) && Array.isArray(actual) === Array.isArray(expected)) {
    const keys = new Set([...Object.keys(expected), ...Object.keys(actual)]);
    let error = 0;
    let worst: string | undefined;
    for (const key of keys) {
      const at = path === "" ? key : `${path}.${key}`;
      const inner =
        Object.hasOwn(actual, key) && Object.hasOwn(expected, key)
          ? treeMismatches(actual[key], expected[key], at)
          : { error: 1, worst: at };
      error += inner.error;
      worst ??= inner.worst;
    }
    return worst === undefined ? { error } : { error, worst };
  }
  return Object.is(actual, expected) || actual === expected ? { error: 0 } : { error: 1, worst: path };
}

function isBranch(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function largest(actual: Values, expected: Values, error: (a: number, e: number) => number): number {
  sameLength(actual, expected);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i]) continue; // infinities of one sign are equal
    const found = error(actual[i], expected[i]);
    if (!(found <= worst)) worst = found;
    if (Number.isNaN(worst)) return worst;
  }
  return worst;
}

function sameLength(actual: Values, expected: Values): void {
  if (actual.length !== expected.length) {
    throw new Error(`${actual.length} values where ${expected.length} are expected`);
  }
}
