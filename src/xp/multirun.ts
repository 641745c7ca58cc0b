/** `--multirun`: one experiment after the other, each in a process of its own, and a table of how they ended. */
import path from "node:path";
import type { CommandLine } from "../config/command-line.ts";
import { ConfigRepository } from "../config/repository.ts";
import { expandSweeps } from "../config/sweep.ts";
import { tableText } from "../config/text-table.ts";
import { CONFIG_DIR, composeTrainConfig } from "../config/train-config.ts";
import { printText } from "../log/print.ts";
import { type ChildOptions, optionArguments, startTraining, wasInterrupted } from "./child.ts";
import { announceExperiment, resolveDoraDir } from "./folder.ts";
import { writeOutcome } from "./provenance.ts";
import { trainSignature } from "./signature.ts";
import { columnCells, LM_COLUMNS } from "./status.ts";

export interface MultirunOptions extends ChildOptions {
  /** Gets the table at the end; by default it is printed on stdout. */
  print?: (table: string) => Promise<void>;
}

const COLUMNS = LM_COLUMNS.filter(({ title }) => title !== "ping");

/**
 * Trains every combination of the sweeps in `line`. All are composed first, so that a mistake stops nothing half-way; one
 * that fails does not stop the others, one that is interrupted does. Returns the exit code: 0 if all succeeded.
 */
export async function runMultirun(line: CommandLine, options: MultirunOptions = {}): Promise<number> {
  const { configDir = CONFIG_DIR, searchPath = [] } = line.options;
  const repository = new ConfigRepository([configDir, ...searchPath], "1.1");
  const runs = expandSweeps(line.overrides, (group) => repository.options(group)).map((argv) => {
    const doraDir = resolveDoraDir(composeTrainConfig(argv, line.options));
    const { sig, argv: kept } = trainSignature(argv, line.options);
    return { argv, sig, kept, dir: path.join(doraDir, "xps", sig) };
  });
  const flags = [
    ...optionArguments(line.options),
    ...(line.flags.has("--clear") ? ["--clear", "--yes"] : []),
  ];
  const varying = varyingArguments(runs.map(({ argv }) => argv));
  const rows: string[][] = [];
  let failed = 0;
  let interrupted: number | undefined;
  for (const [i, { argv, sig, kept, dir }] of runs.entries()) {
    const name = varying[i]!.join(" ");
    if (interrupted !== undefined) {
      rows.push([String(i), name, sig, "not run", "", ...COLUMNS.map(() => "")]);
      continue;
    }
    console.error(`[${i + 1}/${runs.length}] ${sig}: ${name}`);
    const begin = performance.now();
    const code = await startTraining([...flags, ...argv], options).done;
    const isStopped = wasInterrupted(code);
    announceExperiment({ sig, dir, argv: kept });
    writeOutcome(dir, isStopped ? 0 : code);
    if (isStopped) interrupted = code;
    else if (code !== 0) failed++;
    const state = isStopped ? "interrupted" : code === 0 ? "done" : `failed (exit code ${code})`;
    rows.push([
      String(i),
      name,
      sig,
      state,
      secondsText(performance.now() - begin),
      ...columnCells(COLUMNS, dir),
    ]);
  }
  const titles = ["#", "overrides", "sig", "state", "time", ...COLUMNS.map(({ title }) => title)];
  await (options.print ?? printText)(tableText(titles, rows));
  return interrupted ?? (failed > 0 ? 1 : 0);
}

/** Of several command lines the arguments that not all have; all of them for a single one. */
export function varyingArguments(lines: string[][]): string[][] {
  if (lines.length < 2) return lines;
  return lines.map((argv) => argv.filter((argument) => !lines.every((other) => other.includes(argument))));
}

function secondsText(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  return seconds < 100 ? `${seconds.toFixed(1)}s` : `${(seconds / 60).toFixed(1)}m`;
}
