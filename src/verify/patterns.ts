/** Codebook patterns: layouts, sequences and the way back, exactly. */
import { UserError } from "../errors.ts";
import { buildPatternProvider, type Pattern, type PatternIndexes } from "../models/lm/patterns.ts";
import { type Checks, check } from "./check.ts";
import { mismatches } from "./compare.ts";
import type { GoldenFolder } from "./folder.ts";

export interface RevertedSequence {
  values: number[][];
  indexes: number[][];
  mask: number[][];
}
export type BuiltSequence = RevertedSequence & { revert: RevertedSequence; revert_logits: RevertedSequence };

export interface PatternCase {
  provider: string;
  kwargs: Record<string, unknown>;
  n_q: number;
  T: number;
  layout: number[][][];
  max_delay: number;
  num_sequence_steps: number;
  valid_len: number;
  starts_with_special_token: boolean;
  first_step_with_timesteps: (number | null)[];
  full: BuiltSequence;
  valid: BuiltSequence;
}

export interface PatternGolden {
  special_token: number;
  revert_special_token: number;
  logits_special_token: number;
  cases: PatternCase[];
  errors?: PatternSettings[];
}

export async function* verifyPatterns(folder: GoldenFolder): Checks {
  const golden = folder.json<PatternGolden>("patterns.json");
  for (const [name, count] of Object.entries(patternChecks(golden))) {
    yield await check(name, 0, () => total(golden.cases, count));
  }
  if (golden.errors?.length) yield await check("refused cases", 0, () => total(golden.errors!, refused));
}

/** By name: the number of values of a case that differ from the original's. */
export function patternChecks(golden: PatternGolden): Record<string, (c: PatternCase) => number> {
  const checks: Record<string, (c: PatternCase) => number> = { layout: layoutMismatches };
  for (const steps of ["full", "valid"] as const) {
    const valid = steps === "valid";
    checks[`build (${steps})`] = (c) => {
      const pattern = patternOf(c);
      const codes = Int32Array.from({ length: c.n_q * c.T }, (_, i) => 100 + i);
      const built = pattern.buildSequence(codes, [1, c.n_q, c.T], golden.special_token, valid);
      return sequenceMismatches(
        [built.codes, flat(c.n_q, c.T, pattern.sequenceIndexes(valid)), built.mask],
        c[steps],
      );
    };
    checks[`revert (${steps})`] = (c) => {
      const pattern = patternOf(c);
      const length = pattern.length(valid);
      const sequence = Int32Array.from(c[steps].values.flat());
      const special = golden.revert_special_token;
      const reverted = pattern.revertSequence(sequence, [1, c.n_q, length], special, valid);
      return sequenceMismatches(
        [reverted.codes, flat(c.n_q, length, pattern.revertIndexes(valid)), reverted.mask],
        c[steps].revert,
      );
    };
    checks[`revert logits (${steps})`] = (c) => {
      const pattern = patternOf(c);
      const length = pattern.length(valid);
      const back = pattern.revertLogitsIndexes(valid);
      const values = Array.from(back.indexes, (step, cell) =>
        back.mask[cell] ? 1000 + Math.floor(cell / c.T) * length + step : golden.logits_special_token,
      );
      return sequenceMismatches([values, flat(c.n_q, length, back), back.mask], c[steps].revert_logits);
    };
  }
  return checks;
}

function layoutMismatches(c: PatternCase): number {
  const pattern = patternOf(c);
  const layout = pattern.layout.map((cells) => cells.map(({ t, q }) => [t, q]));
  const firstSteps = c.first_step_with_timesteps.map((_, t) => pattern.firstStepWithTimestep(t));
  const pairs: [unknown, unknown][] = [
    [layout, c.layout],
    [pattern.maxDelay, c.max_delay],
    [pattern.sequenceSteps, c.num_sequence_steps],
    [pattern.length(true), c.valid_len],
    [pattern.startsWithSpecialToken, c.starts_with_special_token],
    [firstSteps, c.first_step_with_timesteps],
  ];
  return pairs.filter(([ours, theirs]) => JSON.stringify(ours) !== JSON.stringify(theirs)).length;
}

type Sequence = [values: ArrayLike<number>, indexes: ArrayLike<number>, mask: ArrayLike<number>];

function sequenceMismatches([values, indexes, mask]: Sequence, expected: RevertedSequence): number {
  return (
    mismatches(values, expected.values.flat()) +
    mismatches(indexes, expected.indexes.flat()) +
    mismatches(mask, expected.mask.flat().map(Number))
  );
}

/** The original counts over all codebooks, [K * N], with K * N for "no source". */
function flat(nQ: number, sourceLength: number, { indexes, mask, length }: PatternIndexes): number[] {
  return Array.from(indexes, (index, cell) =>
    mask[cell] ? Math.floor(cell / length) * sourceLength + index : nQ * sourceLength,
  );
}

type PatternSettings = Pick<PatternCase, "provider" | "kwargs" | "n_q" | "T">;

function patternOf({ provider, kwargs, n_q, T }: PatternSettings): Pattern {
  return buildPatternProvider({ modeling: provider, [provider]: kwargs }, n_q).getPattern(T);
}

/** What the original cannot do, is refused. */
function refused(settings: PatternSettings): number {
  try {
    patternOf(settings);
    return 1;
  } catch (error) {
    if (error instanceof UserError) return 0;
    throw error;
  }
}

function total<T>(cases: T[], count: (c: T) => number): number {
  if (cases.length === 0) throw new Error("there are no cases");
  return cases.reduce((sum, c) => sum + count(c), 0);
}
