/** One check of a golden folder: what was measured, and the tolerance that it has to keep. */

export interface Check {
  check: string;
  /** The measured figure: the largest error, or the number of items that differ; null where nothing could be measured. */
  error: number | null;
  tolerance: number;
  pass: boolean;
  /** Why nothing could be measured, or what is wrong. */
  reason?: string;
  /** The tensor or case with the largest error, where several were compared. */
  worst?: string;
}

/** A figure, with the name of what it belongs to where several things were compared. */
export interface Measured {
  error: number;
  worst?: string;
}

export type Checks = AsyncGenerator<Check>;

/** Measures; whatever throws is a failed check with the reason. An error that is not a number fails. */
export async function check(
  name: string,
  tolerance: number,
  measure: () => number | Measured | Promise<number | Measured>,
): Promise<Check> {
  try {
    const result = await measure();
    const { error, worst } = typeof result === "number" ? { error: result } : result;
    if (!Number.isFinite(error)) {
      const reason = `the error is ${error}${worst === undefined ? "" : ` (${worst})`}`;
      return { check: name, error: null, tolerance, pass: false, reason };
    }
    const measured = { check: name, error, tolerance, pass: error <= tolerance };
    return worst === undefined ? measured : { ...measured, worst };
  } catch (problem) {
    return failed(name, tolerance, problem);
  }
}

/** A check that could not be made. */
export function failed(name: string, tolerance: number, problem: unknown): Check {
  const reason = problem instanceof Error ? problem.message : String(problem);
  return { check: name, error: null, tolerance, pass: false, reason };
}

/** The largest of several measurements; `items` are [name, measurement]. @throws when there is none */
export function worstOf(items: Iterable<readonly [string, number]>): Measured {
  let found: Measured | undefined;
  for (const [worst, error] of items) {
    if (found === undefined || Number.isNaN(error) || error > found.error) found = { error, worst };
    if (Number.isNaN(error)) break;
  }
  if (found === undefined) throw new Error("there is nothing to compare");
  return found;
}

/** Computes once, on first use; an error is thrown again on each use. */
export function once<T>(compute: () => T): () => T {
  let done: { value: T } | { problem: unknown } | undefined;
  return () => {
    if (done === undefined) {
      try {
        done = { value: compute() };
      } catch (problem) {
        done = { problem };
      }
    }
    if ("problem" in done) throw done.problem;
    return done.value;
  };
}
