/** Training in a process of its own, through the launcher, as the user's own command line would. */
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import type { TrainConfigOptions } from "../config/train-config.ts";
import { PROJECT_ROOT } from "../config/train-config.ts";

/** The command that `npm run train` runs. */
export const TRAIN_COMMAND = [process.execPath, path.join(PROJECT_ROOT, "scripts", "launch.mjs"), "train"];

export interface ChildOptions {
  /** A file that gets what the process prints; without it the process prints to our terminal. */
  logFile?: string;
  /** Another command than {@link TRAIN_COMMAND}. */
  command?: string[];
}

export interface Child {
  process: ChildProcess;
  /** The exit code; 128 + its number after a signal, 127 when the process could not start. */
  done: Promise<number>;
}

/** Starts a training with these arguments. Signals that end us are handed on: the child writes its checkpoint. */
export function startTraining(argv: string[], options: ChildOptions = {}): Child {
  const [program, ...args] = [...(options.command ?? TRAIN_COMMAND), ...argv];
  const log = options.logFile === undefined ? undefined : fs.openSync(options.logFile, "a");
  const child = spawn(program!, args, {
    stdio: log === undefined ? "inherit" : ["ignore", log, log],
    // Without a terminal of its own the child gets a Ctrl-C only from us, once.
    detached: log !== undefined,
  });
  if (log !== undefined) fs.closeSync(log);
  const handOn = (signal: NodeJS.Signals) => child.kill(signal);
  const signals = ["SIGINT", "SIGTERM", "SIGUSR1"] as const;
  // A Ctrl-C at the terminal reaches the child twice then; the launcher takes signals that close together for one.
  for (const signal of signals) process.on(signal, handOn);
  const done = new Promise<number>((resolve) => {
    child.once("error", () => resolve(127));
    child.once("exit", (code, signal) => resolve(code ?? 128 + (signal ? signalNumber(signal) : 0)));
  }).finally(() => {
    for (const signal of signals) process.off(signal, handOn);
  });
  return { process: child, done };
}

/** Did the process end because it was told to stop? */
export function wasInterrupted(code: number): boolean {
  return [130, 143, 138].includes(code);
}

/** The flags that name the same config tree in another process. */
export function optionArguments(options: TrainConfigOptions): string[] {
  return [
    ...(options.configName ? ["--config-name", options.configName] : []),
    ...(options.configDir ? ["--config-path", options.configDir] : []),
    ...(options.searchPath ?? []).flatMap((directory) => ["--config-dir", directory]),
  ];
}

function signalNumber(signal: NodeJS.Signals): number {
  return { SIGINT: 2, SIGKILL: 9, SIGUSR1: 10, SIGTERM: 15 }[signal as string] ?? 1;
}
