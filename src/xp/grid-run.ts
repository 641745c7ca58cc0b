/** Runs the experiments of a grid on this machine, N at a time, with a table of states and metrics that stays current. */
import path from "node:path";
import { tableText } from "../config/text-table.ts";
import { type Child, type ChildOptions, startTraining, wasInterrupted } from "./child.ts";
import { announceExperiment } from "./folder.ts";
import type { Grid, GridExperiment } from "./grid.ts";
import { varyingArguments } from "./multirun.ts";
import { writeOutcome } from "./provenance.ts";
import { columnCells, experimentState, type State } from "./status.ts";

export interface GridRunOptions {
  /** How many train at the same time. */
  jobs: number;
  /** Also start those that failed. */
  retry?: boolean;
  /** Do not print the table until the end. */
  quiet?: boolean;
  /** Gets the table whenever it is drawn anew; by default it is drawn in place on a terminal. */
  draw?: (table: string) => void;
  /** Milliseconds between two looks. */
  interval?: number;
  command?: ChildOptions["command"];
}

/** What each experiment prints while the grid runs it. */
export const GRID_LOG = "grid.log";

/**
 * Trains what is not done: new experiments, those that stopped on the way, and with `retry` those that failed. A failure
 * does not stop the others; an interruption (Ctrl-C) is handed on to all and starts no more. Returns the exit code.
 */
export async function runGrid(
  grid: Grid,
  experiments: GridExperiment[],
  options: GridRunOptions,
): Promise<number> {
  const startable: State[] = options.retry ? ["NEW", "PAU", "FAI"] : ["NEW", "PAU"];
  const waiting = experiments.filter((experiment) => startable.includes(experimentState(experiment)));
  const running = new Map<string, Child>();
  const draw = options.draw ?? drawInPlace();
  let failed = 0;
  let interrupted: number | undefined;
  const show = () => draw(gridTable(grid, experiments, new Set(running.keys())));
  const start = async (experiment: GridExperiment) => {
    announceExperiment(experiment);
    const logFile = path.join(experiment.dir, GRID_LOG);
    const child = startTraining(experiment.argv, { logFile, command: options.command });
    running.set(experiment.sig, child);
    const code = await child.done;
    running.delete(experiment.sig);
    writeOutcome(experiment.dir, wasInterrupted(code) ? 0 : code);
    if (wasInterrupted(code)) interrupted = code;
    else if (code !== 0) failed++;
  };
  const timer = options.quiet ? undefined : setInterval(show, options.interval ?? 2000);
  try {
    if (!options.quiet) show();
    const worker = async () => {
      while (interrupted === undefined) {
        const next = waiting.shift();
        if (!next) return;
        await start(next);
      }
    };
    await Promise.all(Array.from({ length: Math.max(1, options.jobs) }, worker));
  } finally {
    clearInterval(timer);
  }
  show();
  return interrupted ?? (failed > 0 ? 1 : 0);
}

/** The monitoring table. What all experiments have in common stands above it once. */
export function gridTable(
  grid: Grid,
  experiments: GridExperiment[],
  running: Set<string> = new Set(),
): string {
  const words = experiments.map(({ name }) => name.split(" "));
  const varying = varyingArguments(words);
  const common =
    experiments.length < 2 ? [] : words[0]!.filter((word) => words.every((all) => all.includes(word)));
  const rows = experiments.map((experiment, i) => [
    String(i),
    varying[i]!.join(" "),
    running.has(experiment.sig) ? "RUN" : experimentState(experiment),
    experiment.sig,
    ...columnCells(grid.columns, experiment.dir),
  ]);
  const titles = ["#", "name", "state", "sig", ...grid.columns.map(({ title }) => title)];
  return `${common.length > 0 ? `Base name: ${common.join(" ")}\n` : ""}${tableText(titles, rows)}`;
}

/** Draws over the previous table on a terminal; elsewhere prints only tables that differ from the one before. */
function drawInPlace(): (table: string) => void {
  let before = "";
  return (table) => {
    if (table === before) return;
    const isLive = process.stdout.isTTY === true && process.env.TERM !== "dumb";
    const height = before === "" ? 0 : before.split("\n").length - 1;
    process.stdout.write(isLive ? `${height > 0 ? `\x1b[${height}A\x1b[0J` : ""}${cut(table)}` : table);
    before = table;
  };
}

/** A line that the terminal would wrap takes two, and the next table would not be drawn over this one. */
function cut(table: string): string {
  const columns = process.stdout.columns || 80;
  return table
    .split("\n")
    .map((line) => line.slice(0, columns - 1))
    .join("\n");
}
