/** Where weights come from: the runs that made them, each with its command, seed, commit and time, the first one first. */
import { existsSync, statSync } from "node:fs";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { configFromYaml } from "../config/index.ts";
import { locateModel } from "../solvers/resolve.ts";

export interface TrainingRun {
  command: string;
  signature: string;
  seed: number;
  git_commit: string;
  epochs: number;
  /** Of all stages together. */
  seconds: number;
  /** When its last checkpoint was written, in UTC. */
  finished: string;
}

/**
 * The runs behind a file of ours: its own and, by `continue_from`, those before it as far as they are there. [] for files of other
 * programs. An exported file carries the list in its metadata, under "provenance".
 */
export function trainingRuns(path: string, doraDir: string): TrainingRun[] {
  if (!path.endsWith(".safetensors") || !existsSync(path)) return [];
  const reader = openSafetensors(path);
  const {
    provenance,
    "xp.argv": argv,
    "xp.cfg": yaml,
    "xp.sig": signature,
    git_commit,
    history,
  } = reader.metadata;
  reader.close();
  if (provenance !== undefined) return JSON.parse(provenance);
  if (argv === undefined || yaml === undefined) return [];
  const config = configFromYaml(yaml, `${path} (xp.cfg)`);
  const epochs = JSON.parse(history ?? "[]") as Record<string, { duration?: number }>[];
  const stages = epochs.flatMap((epoch) => Object.values(epoch));
  const run: TrainingRun = {
    command: ["npm run train --", ...(JSON.parse(argv) as string[])].join(" "),
    signature,
    seed: Number(config.get("seed")),
    git_commit,
    epochs: epochs.length,
    seconds: Math.round(stages.reduce((sum, { duration = 0 }) => sum + duration, 0)),
    finished: `${statSync(path).mtime.toISOString().slice(0, 16)}Z`,
  };
  return [...runsBefore(config.get("continue_from"), doraDir), run];
}

function runsBefore(from: unknown, doraDir: string): TrainingRun[] {
  if (typeof from !== "string") return [];
  try {
    const location = locateModel(from, doraDir);
    return location.kind === "checkpoint" ? trainingRuns(location.path, doraDir) : [];
  } catch {
    // it has been removed since: what is known is still worth telling
    return [];
  }
}
