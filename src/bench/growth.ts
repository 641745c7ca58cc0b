/** `npm run bench -- growth`: how time and memory of training and generation grow with length, batch, depth and width. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT_ROOT } from "../config/train-config.ts";
import { UserError } from "../errors.ts";
import { terminal } from "../log/live_line.ts";
import type { BenchOptions } from "./arguments.ts";
import { logChart } from "./chart.ts";
import { AXES, BASE, COSTS, type CostName, type GrowthAxis } from "./growth_axes.ts";
import { measureInTurn } from "./in_turn.ts";
import { machineFacts } from "./machine.ts";
import { fitPowerLaw, growsTooFast, type Point, type PowerLaw } from "./power_law.ts";
import { TOLERATED_CORES } from "./processor.ts";
import { ourProgram } from "./programs.ts";
import { commandText, measuredCommit, type Provenance } from "./provenance.ts";
import type { Request } from "./request.ts";
import { spread } from "./statistics.ts";
import { RESULTS_FOLDER } from "./suite.ts";
import { alignedText, digits } from "./table.ts";

export interface GrowthResult extends Provenance {
  base: typeof BASE;
  curves: GrowthCurve[];
}

/** One cost along one axis. */
export interface GrowthCurve {
  axis: GrowthAxis["name"];
  cost: CostName;
  points: Point[];
  fit: PowerLaw;
  /** Exponent of the mathematics over the same values, fitted the same way. */
  expectedExponent: number;
  tooFast: boolean;
}

const CHART_FOLDER = join("docs", "growth");
const COLOURS = { training: "#2c7fb8", generation: "#d95f0e" };

/** Returns the exit code: 1 when the figures are not to be used, or something grows faster than it must. */
export async function runGrowth(options: BenchOptions, argv: string[]): Promise<number> {
  if (options.points < 3) throw new UserError(`--points ${options.points}: a curve needs 3 or more`);
  const result: GrowthResult = {
    date: new Date().toISOString(),
    command: commandText(argv),
    usable: true,
    machine: machineFacts(),
    versions: {},
    commit: measuredCommit(),
    base: BASE,
    curves: [],
  };
  for (const axis of AXES) {
    const costs = await measureAxis(axis, options, result);
    for (const [name, points] of Object.entries(costs))
      result.curves.push(curveOf(axis, name as CostName, points));
  }
  terminal.clear();
  console.log(alignedText(GROWTH_HEADER, growthCells(result)));
  if (!result.usable) console.log("UNUSABLE: other processes used the processor meanwhile.");
  if (options.save) save(result);
  return result.usable && result.curves.every(({ tooFast }) => !tooFast) ? 0 : 1;
}

/** Every cost at every value, each value's training and generation in processes of their own. */
async function measureAxis(
  axis: GrowthAxis,
  options: BenchOptions,
  result: GrowthResult,
): Promise<Record<CostName, Point[]>> {
  const costs: Record<CostName, Point[]> = {
    "training time": [],
    "training memory": [],
    "generation time": [],
    "generation memory": [],
  };
  for (const value of axis.values.slice(0, options.points)) {
    for (const part of ["training", "generation"] as const) {
      const announce = (text: string) =>
        terminal.update(`growth with ${axis.name} ${value}, ${part}: ${text}`);
      const program = ourProgram(requestOf(axis, value, part, options));
      const [[turn]] = await measureInTurn([program], { rounds: 1, force: options.force, announce });
      const seconds = turn.series[part === "training" ? "step" : "generate"];
      costs[`${part} time`].push([value, spread(seconds).median]);
      costs[`${part} memory`].push([value, turn.peakBytes / 2 ** 20]);
      Object.assign(result.versions, turn.versions);
      if (turn.others > TOLERATED_CORES) result.usable = false;
    }
  }
  return costs;
}

function requestOf(axis: GrowthAxis, value: number, part: string, { runs }: BenchOptions): Request {
  const model = axis.at(value);
  // along the other axes a generation need not be long
  const frames = axis.name === "length" ? value : 50;
  const data = { manifest: "", workers: 0, segments: 0 };
  const repeats = { runs, warmup: part === "training" ? 2 : 1 };
  const what = part === "training" ? "train" : "generate";
  return { what, precision: "fp32", model, frames, data, onlyGenerate: true, ...repeats };
}

export function curveOf(axis: GrowthAxis, cost: CostName, points: Point[]): GrowthCurve {
  const expected = (value: number) => {
    const size = axis.at(value);
    const frames = cost.startsWith("generation") && axis.name !== "length" ? 50 : size.frames;
    return COSTS[cost].expected({ ...size, frames });
  };
  return {
    axis: axis.name,
    cost,
    points,
    fit: fitPowerLaw(points),
    expectedExponent: fitPowerLaw(points.map(([x]): Point => [x, expected(x)])).exponent,
    tooFast: growsTooFast(points, expected),
  };
}

export const GROWTH_HEADER = [
  "against",
  "cost",
  "measured",
  "exponent",
  "by the mathematics",
  "constant",
  "",
];

export function growthCells({ curves }: GrowthResult): string[][] {
  return curves.map(({ axis, cost, points, fit, expectedExponent, tooFast }) => {
    const { unit } = COSTS[cost];
    return [
      axis,
      cost,
      `${points.map(([x, y]) => `${x}: ${digits(y)}`).join(", ")} ${unit}`,
      fit.exponent.toFixed(2),
      expectedExponent.toFixed(2),
      `${digits(fit.constant)} ${unit}`,
      tooFast ? "FASTER THAN ITS MATHEMATICS" : "",
    ];
  });
}

/** The JSON file and, when it can be used, the charts: one per axis and kind of cost. */
function save(result: GrowthResult): void {
  const folder = join(PROJECT_ROOT, RESULTS_FOLDER);
  mkdirSync(folder, { recursive: true });
  const name = `growth-${result.date.slice(0, 10)}-${result.machine.name}${result.usable ? "" : "-forced"}.json`;
  writeFileSync(join(folder, name), `${JSON.stringify(result, null, 2)}\n`);
  if (!result.usable) return;
  const charts = join(PROJECT_ROOT, CHART_FOLDER);
  mkdirSync(charts, { recursive: true });
  for (const [file, svg] of growthCharts(result)) writeFileSync(join(charts, file), svg);
}

/** File name and SVG of every chart. */
export function growthCharts({ curves }: GrowthResult): [file: string, svg: string][] {
  return AXES.flatMap(({ name, label }) =>
    (["time", "memory"] as const).map((kind): [string, string] => {
      const shown = curves.filter(({ axis, cost }) => axis === name && cost.endsWith(kind));
      const series = shown.map(({ cost, points, fit }) => {
        const part = cost.split(" ")[0] as keyof typeof COLOURS;
        return {
          name: `${part}: ${name}^${fit.exponent.toFixed(2)} times a factor, plus ${digits(fit.constant)}`,
          colour: COLOURS[part],
          points,
          curve: (x: number) => fit.constant + fit.factor * x ** fit.exponent,
        };
      });
      const yLabel = kind === "time" ? "seconds" : "peak memory, MiB";
      return [
        `${name}-${kind}.svg`,
        logChart({
          title: `${kind === "time" ? "Time" : "Memory"} against ${name}`,
          xLabel: label,
          yLabel,
          series,
        }),
      ];
    }),
  );
}
