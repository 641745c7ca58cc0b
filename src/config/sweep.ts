/** `--multirun`: a command line with sweeps becomes one command line per combination, as Hydra's basic sweeper orders them. */
import { UserError } from "../errors.ts";
import { floatRange } from "./float-range.ts";
import { type Override, overrideTarget, parseOverride } from "./override-grammar.ts";
import { overrideText, Quoted, Sweep } from "./override-value.ts";
import { matchesPattern } from "./pattern.ts";

/** The options of a config group, for `glob`. */
export type OptionsOf = (group: string) => string[];

/**
 * Every combination of the sweeps in `argv`, the last sweep changing fastest. Of a key given twice the later value counts,
 * in the place of the first. Throws UserError for an interval, which has no list of values.
 */
export function expandSweeps(argv: string[], optionsOf: OptionsOf): string[][] {
  const byKey = new Map<string, string[]>();
  for (const text of argv) {
    const override = parseOverride(text);
    byKey.set(keyElement(override), alternatives(override, optionsOf));
  }
  return product([...byKey.values()]);
}

/** The values of a sweep as texts of the override language. A shuffled sweep comes in a new order at each call. */
export function sweepValues(override: Override, optionsOf: OptionsOf): string[] {
  const sweep = override.parsed as Sweep;
  const of = sweep.of;
  switch (of.kind) {
    case "choice":
      // Functions see their arguments without quotes, and so do the values of choice(...).
      return ordered(
        sweep,
        of.list.map((item) => overrideText(of.simple || !(item instanceof Quoted) ? item : item.text)),
      );
    case "range":
      return ordered(sweep, rangeValues(of.start, of.stop, of.step).map(overrideText));
    case "glob": {
      const options = optionsOf(override.key);
      return options.filter(
        (option) =>
          of.include.some((pattern) => matchesPattern(option, pattern)) &&
          !of.exclude.some((pattern) => matchesPattern(option, pattern)),
      );
    }
    case "interval":
      throw new UserError(
        `'${override.input}': an interval has no list of values to try; write choice(...) or range(...)`,
      );
  }
}

function alternatives(override: Override, optionsOf: OptionsOf): string[] {
  if (!(override.parsed instanceof Sweep)) return [override.input];
  const values = sweepValues(override, optionsOf);
  if (values.length === 0) throw new UserError(`'${override.input}': the sweep has no values`);
  return values.map((value) => `${keyElement(override)}=${value}`);
}

function keyElement(override: Override): string {
  const prefix = { CHANGE: "", ADD: "+", FORCE_ADD: "++", DEL: "~" }[override.type];
  return prefix + overrideTarget(override);
}

type Numeric = bigint | number;

function rangeValues(start: Numeric, stop: Numeric, step: Numeric): Numeric[] {
  if (Number(step) === 0) throw new UserError("range(...): the step must not be 0");
  const count = Math.ceil((Number(stop) - Number(start)) / Number(step));
  if (count > MAX_VALUES) throw new UserError(`range(...): ${count} values; at most ${MAX_VALUES}`);
  if (typeof start === "bigint" && typeof stop === "bigint" && typeof step === "bigint") {
    const values: bigint[] = [];
    for (let x = start; step > 0n ? x < stop : x > stop; x += step) values.push(x);
    return values;
  }
  return floatRange(Number(start), Number(stop), Number(step));
}

const MAX_VALUES = 100_000;

function ordered(sweep: Sweep, values: string[]): string[] {
  if (!sweep.shuffle) return values;
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [values[i], values[j]] = [values[j]!, values[i]!];
  }
  return values;
}

function product(lists: string[][]): string[][] {
  const size = lists.reduce((count, list) => count * list.length, 1);
  if (size > MAX_VALUES) throw new UserError(`the sweeps have ${size} combinations; at most ${MAX_VALUES}`);
  return lists.reduce<string[][]>(
    (rows, list) => rows.flatMap((row) => list.map((item) => [...row, item])),
    [[]],
  );
}
