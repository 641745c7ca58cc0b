/** How far an experiment is, and the row that a table of experiments has for it. */
import fs from "node:fs";
import path from "node:path";
import { composeTrainConfig } from "../config/train-config.ts";
import { type EpochMetrics, type Experiment, readHistory } from "./folder.ts";
import { FolderLock } from "./lock.ts";
import { readOutcome } from "./provenance.ts";

/**
 * NEW never started; RUN a process trains it; PAU stopped before the last epoch; DON all epochs; FAI ended with an error;
 * ERR its files or its command line cannot be read.
 */
export type State = "NEW" | "RUN" | "PAU" | "DON" | "FAI" | "ERR";

/** The state of an experiment, from its files alone. */
export function experimentState({ dir, argv }: Experiment): State {
  if (FolderLock.holder(dir)) return "RUN";
  try {
    const epochs = readHistory(dir).length;
    if (epochs >= totalEpochs(argv)) return "DON";
    if (readOutcome(dir) > 0) return "FAI";
    return epochs > 0 ? "PAU" : "NEW";
  } catch {
    return "ERR";
  }
}

/** Composed once: a table is drawn every few seconds. */
const epochsOf = new Map<string, number>();

function totalEpochs(argv: string[]): number {
  const id = JSON.stringify(argv);
  const epochs = epochsOf.get(id) ?? Number(composeTrainConfig(argv).get("optim.epochs"));
  epochsOf.set(id, epochs);
  return epochs;
}

/** A column of a table: its title, and the text for an experiment's history ("" when there is nothing yet). */
export interface Column {
  title: string;
  text(history: EpochMetrics[], dir: string): string;
}

/** The last value of a metric. `best: true` gives the smallest of all epochs. */
export function metricColumn(
  stage: string,
  metric: string,
  options: { digits?: number; best?: boolean; title?: string } = {},
): Column {
  return {
    title: options.title ?? `${stage}.${options.best ? "best_" : ""}${metric}`,
    text(history) {
      const values = history
        .map((epoch) => epoch[stage]?.[metric])
        .filter((value) => typeof value === "number");
      if (values.length === 0) return "";
      return (options.best ? Math.min(...values) : values.at(-1)!).toFixed(options.digits ?? 3);
    },
  };
}

/** AudioCraft's columns for language models. */
export const LM_COLUMNS: Column[] = [
  { title: "epoch", text: (history) => String(history.length) },
  {
    title: "minutes",
    text: (history) => {
      const last = history.at(-1)?.train?.duration;
      return last === undefined ? "" : (last / 60).toFixed(1);
    },
  },
  { title: "ping", text: (_, dir) => ageText(lastLog(dir)) },
  metricColumn("train", "ce", { digits: 4 }),
  metricColumn("train", "ppl"),
  metricColumn("valid", "ce", { digits: 4 }),
  metricColumn("valid", "ppl"),
  metricColumn("valid", "ppl", { best: true }),
];

/** The cells of an experiment; a damaged history leaves them empty. */
export function columnCells(columns: Column[], dir: string): string[] {
  let history: EpochMetrics[] = [];
  try {
    history = readHistory(dir);
  } catch {
    // The state column says ERR.
  }
  return columns.map((column) => column.text(history, dir));
}

/** Milliseconds since the epoch -> `12s`, `5m`, `3h`, `2d` ago. */
export function ageText(time: number | undefined, now = Date.now()): string {
  if (time === undefined) return "";
  const seconds = Math.max(0, (now - time) / 1000);
  for (const [unit, size] of [
    ["d", 86400],
    ["h", 3600],
    ["m", 60],
  ] as const) {
    if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
  }
  return `${Math.floor(seconds)}s`;
}

function lastLog(dir: string): number | undefined {
  return fs.statSync(path.join(dir, "solver.log.0"), { throwIfNoEntry: false })?.mtimeMs;
}
