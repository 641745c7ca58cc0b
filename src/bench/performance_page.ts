/** `npm run bench -- report`: writes the tables of docs/performance.md, between its marks, from the newest results of each machine. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT_ROOT } from "../config/train-config.ts";
import { UserError } from "../errors.ts";
import { GROWTH_HEADER, type GrowthResult, growthCells } from "./growth.ts";
import { AXES } from "./growth_axes.ts";
import { machineText } from "./machine.ts";
import { differences, type Result, readResults } from "./results.ts";
import { BENCHMARKS, RESULTS_FOLDER } from "./suite.ts";
import { cellsOf, digits, HEADER, markdownTable } from "./table.ts";

const PAGE = join(PROJECT_ROOT, "docs", "performance.md");
export const BEGIN = "<!-- tables: written by npm run bench -- report -->";
export const END = "<!-- end of the tables -->";

/** Returns the exit code. @throws UserError when there are no results, or the page has lost its marks */
export function updatePerformancePage(): number {
  const folder = join(PROJECT_ROOT, RESULTS_FOLDER);
  const results = readResults(folder);
  if (results.length === 0)
    throw new UserError(
      `${RESULTS_FOLDER} has no results that can be used: npm run bench -- all --peer PYTHON`,
    );
  const page = readFileSync(PAGE, "utf8");
  writeFileSync(PAGE, withTables(page, tablesText(results, readGrowth(folder))));
  console.log(`docs/performance.md shows ${results.length} results`);
  return 0;
}

/** The page with `tables` between its marks. */
export function withTables(page: string, tables: string): string {
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin)
    throw new UserError(`docs/performance.md needs the lines "${BEGIN}" and "${END}" around its tables`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${tables}\n\n${page.slice(end)}`;
}

/** A section per machine; in it a table per benchmark and size. */
export function tablesText(results: Result[], growth: GrowthResult | null): string {
  const machines = [...new Set(results.map(({ machine }) => machine.name))];
  const sections = machines.map((name) => {
    const own = results.filter(({ machine }) => machine.name === name);
    return [`## ${machineText(own[0].machine)}`, ...inOrder(own).map(resultText)].join("\n\n");
  });
  return [...sections, ...(growth ? [growthText(growth)] : [])].join("\n\n");
}

function inOrder(results: Result[]): Result[] {
  const names = Object.keys(BENCHMARKS);
  const place = ({ what, size }: Result) => 10 * names.indexOf(what) + (size === "bench" ? 0 : 1);
  return [...results].sort((a, b) => place(a) - place(b));
}

function resultText(result: Result): string {
  const { what, size, rows, limits, notes, command, commit, date, versions } = result;
  const about = BENCHMARKS[what].about;
  const parameters = rows.find(({ facts }) => facts.parameters)?.facts.parameters;
  const title = [
    about,
    ...(size ? [`size \`${size}\``] : []),
    ...(parameters ? [`${(parameters / 1e6).toFixed(1)} M parameters`] : []),
  ].join(", ");
  const known = Object.entries(limits).map(([name, limit]) =>
    name === "read"
      ? `reads memory at ${digits(limit / 1e9)} GB/s`
      : `${name} products ${digits(limit / 1e9)} GFLOP/s`,
  );
  const lines = [
    ...(rows.some(({ limit }) => limit)
      ? [`The machine, measured in the same call: ${known.join(", ")}.`]
      : []),
    ...notes.map((note) => `${note}.`),
    ...differences(rows).map((difference) => `Not the same work: ${difference}.`),
    `\`${command}\`, ${date.slice(0, 10)}, commit ${commit?.slice(0, 12) ?? "unknown"}; ${versionsText(versions)}`,
  ];
  return [
    `### ${title[0].toUpperCase()}${title.slice(1)}`,
    markdownTable(HEADER, cellsOf(result, BENCHMARKS[what])),
    lines.join("  \n"),
  ].join("\n\n");
}

function versionsText(versions: Record<string, string>): string {
  return Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(", ");
}

function readGrowth(folder: string): GrowthResult | null {
  const files = readdirSync(folder).filter(
    (name) => /^growth-.*\.json$/.test(name) && !name.endsWith("-forced.json"),
  );
  const all = files.map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as GrowthResult);
  return all.sort((a, b) => a.date.localeCompare(b.date)).at(-1) ?? null;
}

function growthText(result: GrowthResult): string {
  const { base, machine, command, date, commit } = result;
  const { dim, layers, heads, batch, frames } = base;
  const charts = AXES.map(
    ({ name }) =>
      `![Time against ${name}](growth/${name}-time.svg) ![Memory against ${name}](growth/${name}-memory.svg)`,
  );
  return [
    "## Growth",
    `Around a model of dim ${dim}, ${layers} layers, ${heads} heads and a batch of ${batch} x ${frames} frames, in float32; each point in a process of its own. Generation makes 50 frames, against length as many as there are. ${machineText(machine)}.`,
    markdownTable(GROWTH_HEADER, growthCells(result)),
    charts.join("\n\n"),
    `\`${command}\`, ${date.slice(0, 10)}, commit ${commit?.slice(0, 12) ?? "unknown"}`,
  ].join("\n\n");
}
