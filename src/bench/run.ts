/** Runs benchmarks: the hardware's limits, then each case's programs in turn; shows and keeps what comes out. */
import { join } from "node:path";
import { PROJECT_ROOT } from "../config/train-config.ts";
import { terminal } from "../log/live_line.ts";
import type { BenchOptions } from "./arguments.ts";
import { measureInTurn, type Turn } from "./in_turn.ts";
import { machineFacts, machineText } from "./machine.ts";
import { PRODUCTS, READ_BYTES } from "./measure/products.ts";
import { TOLERATED_CORES } from "./processor.ts";
import { commandText, measuredCommit } from "./provenance.ts";
import { differences, type Limits, type Result, rowsOf, writeResult } from "./results.ts";
import type { SizeName } from "./sizes.ts";
import { BENCHMARKS, type Case, hardwarePrograms, type Limit, RESULTS_FOLDER } from "./suite.ts";
import { alignedText, cellsOf, digits, HEADER } from "./table.ts";

/** Measures benchmarks by their names; returns the exit code: 1 when the figures are not to be used. */
export async function runBenchmarks(names: string[], options: BenchOptions, argv: string[]): Promise<number> {
  const common = {
    command: commandText(argv),
    machine: machineFacts(),
    commit: measuredCommit(),
    limits: {},
  };
  const results: Result[] = [];
  try {
    for (const name of names) {
      for (const size of sizesOf(name, options)) {
        const result = await measureBenchmark(name, size, options, common);
        terminal.clear();
        if (!options.json) show(result);
        if (options.save) writeResult(join(PROJECT_ROOT, RESULTS_FOLDER), result);
        results.push(result);
      }
    }
  } finally {
    terminal.clear();
  }
  if (options.json) console.log(JSON.stringify(results, null, 2));
  return results.every(({ usable }) => usable) ? 0 : 1;
}

/** The sizes to measure of those that the benchmark has; null: it has only one. */
function sizesOf(name: string, { chosenSizes, sizes }: BenchOptions): (SizeName | null)[] {
  return BENCHMARKS[name].hasSizes ? (chosenSizes ?? sizes) : [null];
}

/** Adds to `common.limits` those that are needed and were not measured yet. */
async function measureBenchmark(
  name: string,
  size: SizeName | null,
  options: BenchOptions,
  common: Pick<Result, "command" | "machine" | "commit" | "limits">,
): Promise<Result> {
  const { rounds, force } = options;
  const caseOptions = { ...options, runs: Math.ceil(options.runs / rounds), sizes: size ? [size] : [] };
  const cases = await BENCHMARKS[name].cases(caseOptions);
  const date = new Date().toISOString();
  const rows: Result["rows"] = [];
  const versions: Record<string, string> = {};
  for (const one of cases) {
    const title = [name, size, one.variant].filter(Boolean).join(" ");
    const turns = {
      rounds,
      force,
      announce: (text: string) => terminal.update(`measuring ${title}: ${text}`),
    };
    await measureLimits(common.limits, neededBy(one), caseOptions, { ...turns, rounds: 1 });
    const measured = await measureInTurn(one.programs, turns);
    rows.push(...rowsOf(one, measured));
    Object.assign(versions, ...measured.flat().map((turn: Turn) => turn.versions));
  }
  const usable = rows.every(({ others }) => others <= TOLERATED_CORES);
  const notes = cases.flatMap(({ notes }) => notes);
  return { what: name, size, date, usable, versions, rows, notes, ...common };
}

function show(result: Result): void {
  const { what, size, rows, usable, limits } = result;
  const benchmark = BENCHMARKS[what];
  console.log(`\n${benchmark.about}${size ? `, size ${size}` : ""}`);
  console.log(alignedText(HEADER, cellsOf(result, benchmark)));
  const known = Object.entries(limits).map(([name, limit]) => `${name} ${digits(limit / 1e9)}`);
  if (rows.some(({ limit }) => limit)) console.log(`limits in GFLOP/s and GB/s: ${known.join(", ")}`);
  for (const difference of differences(rows)) console.log(`not the same work! ${difference}`);
  for (const note of result.notes) console.log(note);
  console.log(machineText(result.machine));
  if (!usable) console.log("UNUSABLE: other processes used the processor meanwhile (see above).");
}

/** Limits that a case is compared with. A product in bfloat16 may be computed in float32. */
function neededBy({ limit }: Case): Limit[] {
  if (limit === null) return [];
  return limit.by === "bf16" ? ["bf16", "fp32"] : [limit.by];
}

/** Adds the limits that are not there yet. */
async function measureLimits(
  limits: Limits,
  needed: Limit[],
  options: Parameters<typeof hardwarePrograms>[0],
  turns: Parameters<typeof measureInTurn>[1],
): Promise<void> {
  for (const limit of needed) {
    if (limits[limit] !== undefined) continue;
    const precision = limit === "bf16" ? "bf16" : "fp32";
    const measured = (await measureInTurn(hardwarePrograms(options, precision), turns)).flat();
    const best = (series: string, amount: number) =>
      Math.max(...measured.flatMap((turn) => turn.series[series].map((seconds) => amount / seconds)));
    limits[precision] = Math.max(
      ...PRODUCTS.map((sizes) => best(sizes.join(" x "), 2 * sizes[0] * sizes[1] * sizes[2])),
    );
    limits.read = Math.max(limits.read ?? 0, best("read 256 MiB", READ_BYTES));
  }
}
