/** Stopping experiments, and deleting them: after a question, and never while a process trains them. */

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline/promises";
import { composeTrainConfig, type TrainConfigOptions } from "../config/train-config.ts";
import { UserError } from "../errors.ts";
import { type Experiment, readHistory, resolveDoraDir } from "./folder.ts";
import { FolderLock } from "./lock.ts";
import { trainSignature } from "./signature.ts";

export interface RemoveOptions {
  /** Do not ask. */
  yes?: boolean;
  /** Asks a question; tests answer it themselves. */
  ask?: (question: string) => Promise<string>;
}

/** Deletes the folder of an experiment. Returns false when the user says no. Throws UserError when it is in use. */
export async function removeExperiment(
  experiment: Experiment,
  options: RemoveOptions = {},
): Promise<boolean> {
  const { sig, dir } = experiment;
  if (!options.yes) {
    const epochs = historyLength(dir);
    const answer = await (options.ask ?? ask)(
      `delete experiment ${sig} (${epochs} epochs) in ${dir}? [y/N] `,
    );
    if (!/^y(es)?$/i.test(answer.trim())) return false;
  }
  // Taking the lock keeps another process from starting it meanwhile, and fails when one has it.
  const lock = FolderLock.take(dir, `experiment ${sig}`);
  try {
    for (const name of fs.readdirSync(dir)) {
      if (name !== ".lock") fs.rmSync(path.join(dir, name), { recursive: true, force: true });
    }
  } finally {
    lock.release();
  }
  fs.rmSync(dir, { recursive: true, force: true });
  return true;
}

/** Tells the process that trains an experiment to write its checkpoint and end. Returns what was done, for people. */
export function cancelExperiment({ dir }: Experiment): string {
  const holder = FolderLock.holder(dir);
  if (!holder) return "not running";
  if (holder.host !== os.hostname()) return `runs on ${holder.host}: cancel it there`;
  process.kill(holder.pid, "SIGTERM");
  return `stopping process ${holder.pid}`;
}

/** `--clear`: deletes what an earlier run of a command line left; true also when there is nothing to delete. */
export async function clearExperiment(
  overrides: string[],
  options: TrainConfigOptions,
  removal: RemoveOptions,
): Promise<boolean> {
  const { sig, argv } = trainSignature(overrides, options);
  const dir = path.join(resolveDoraDir(composeTrainConfig(overrides, options)), "xps", sig);
  return fs.existsSync(dir) ? await removeExperiment({ sig, dir, argv }, removal) : true;
}

async function ask(question: string): Promise<string> {
  if (!process.stdin.isTTY)
    throw new UserError(`${question.trim()} There is no terminal to answer: add --yes`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await terminal.question(question);
  } finally {
    terminal.close();
  }
}

function historyLength(dir: string): number {
  try {
    return readHistory(dir).length;
  } catch {
    return 0;
  }
}
