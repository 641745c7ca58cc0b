/** Results of benchmarks as files: a JSON file per benchmark, size, day and machine, from which docs/performance.md is written. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Turn } from "./in_turn.ts";
import type { Provenance } from "./provenance.ts";
import { type Spread, spread } from "./statistics.ts";
import type { Case, Limit } from "./suite.ts";

/** The hardware's limits: FLOP/s of products by precision, bytes read per second. */
export type Limits = Partial<Record<Limit, number>>;

export interface Result extends Provenance {
  what: string;
  size: string | null;
  limits: Limits;
  rows: ResultRow[];
  notes: string[];
}

/** One program's times for one series of a case. */
export interface ResultRow {
  variant: string;
  series: string;
  program: string;
  /** Of each run, by round. */
  seconds: number[][];
  peakBytes: number;
  /** Cores that others used in the worst of the rounds. */
  others: number;
  facts: Record<string, number>;
  /** Units of work per run, and of which rate there is a limit. */
  work: Record<string, number>;
  limit: { rate: string; by: Limit } | null;
  /** Times the peer's speed that is wanted, or seconds that are allowed. */
  goal: number | null;
  bound: number | null;
}

/** What the turns of a case's programs come to. */
export function rowsOf(
  { variant, programs, work, limit, goals, bounds }: Case,
  turns: Turn[][],
): ResultRow[] {
  return programs.flatMap(({ name }, index) => {
    const own = turns[index];
    return Object.keys(own[0].series).map((series): ResultRow => {
      const amounts = work[series] ?? {};
      return {
        variant,
        series,
        program: name,
        seconds: own.map((turn) => turn.series[series]),
        peakBytes: Math.max(...own.map(({ peakBytes, facts }) => facts.peakOfChildren ?? peakBytes)),
        others: Math.max(...own.map(({ others }) => others)),
        facts: own[0].facts,
        work: amounts,
        limit: limit && limit.rate in amounts ? limit : null,
        goal: index === 0 ? (goals[series] ?? null) : null,
        bound: index === 0 ? (bounds[series] ?? null) : null,
      };
    });
  });
}

export function secondsOf({ seconds }: Pick<ResultRow, "seconds">): Spread {
  return spread(seconds.flat());
}

/** Rates by unit, from the median time. */
export function ratesOf(row: ResultRow): Record<string, number> {
  const { median } = secondsOf(row);
  return Object.fromEntries(Object.entries(row.work).map(([unit, amount]) => [unit, amount / median]));
}

/** Part of the hardware's limit that a row reaches, or null where there is none or it was not measured. */
export function shareOf(row: ResultRow, limits: Limits): number | null {
  if (row.limit === null) return null;
  // a product in bfloat16 may as well be computed in float32 where that is faster
  const known = row.limit.by === "bf16" ? [limits.bf16, limits.fp32] : [limits[row.limit.by]];
  const limit = Math.max(0, ...known.filter((value) => value !== undefined));
  return limit === 0 ? null : (1e9 * ratesOf(row)[row.limit.rate]) / limit;
}

/** The peer's time by ours, for each of our rows' peers. */
export function ratiosOf(rows: ResultRow[], row: ResultRow): [peer: string, ratio: number][] {
  if (row.program !== "ours") return [];
  const own = secondsOf(row).median;
  return rows
    .filter(
      ({ program, series, variant }) =>
        program !== "ours" && series === row.series && variant === row.variant,
    )
    .map((peer) => [peer.program, secondsOf(peer).median / own]);
}

/** Differences in what ours and a peer computed, such as "parameters: 12 here, 13 with AudioCraft". */
export function differences(rows: ResultRow[]): string[] {
  const compared = ["parameters", "frames", "codebooks"];
  const found = new Set<string>();
  for (const peer of rows.filter(({ program }) => program !== "ours")) {
    const own = rows.find(({ program, variant }) => program === "ours" && variant === peer.variant);
    for (const name of compared) {
      const [here, there] = [own?.facts[name], peer.facts[name]];
      if (here !== undefined && there !== undefined && here !== there)
        found.add(`${name}: ${here} here, ${there} with ${peer.program}`);
    }
  }
  return [...found];
}

/** Writes a result; one that others have disturbed is told by its name. Returns the path. */
export function writeResult(folder: string, result: Result): string {
  const parts = [
    result.what,
    ...(result.size ? [result.size] : []),
    result.date.slice(0, 10),
    result.machine.name,
  ];
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${parts.join("-")}${result.usable ? "" : "-forced"}.json`);
  writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
  return path;
}

/** The newest usable result of each benchmark, size and machine. */
export function readResults(folder: string): Result[] {
  const newest = new Map<string, Result>();
  const names = readdirSync(folder).filter((name) => name.endsWith(".json") && !name.startsWith("growth-"));
  for (const name of names.sort()) {
    const result = JSON.parse(readFileSync(join(folder, name), "utf8")) as Result;
    if (!result.usable) continue;
    const key = [result.machine.name, result.what, result.size].join();
    const before = newest.get(key);
    if (!before || before.date < result.date) newest.set(key, result);
  }
  return [...newest.values()];
}
