/** The config of a training run: this project's tree, its default solver, and the keys that are ours. */
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { composeConfig } from "./compose.ts";
import type { ComposedConfig } from "./config.ts";

/** The root of the checkout. */
export const PROJECT_ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");

/** The YAML tree of this project. */
export const CONFIG_DIR = path.join(PROJECT_ROOT, "config");

/** The file with our own keys (`jit`, …), merged underneath every run's config; they stay out of signatures. */
export const RUNTIME_BASE = "runtime";

/** What is trained when the command line chooses no solver: small enough for two CPU cores. */
export const DEFAULT_SOLVER = "solver=musicgen/tiny";

export interface TrainConfigOptions {
  configDir?: string;
  /** Another primary config than `config`. */
  configName?: string;
  /** More directories with groups and options of the user's own. */
  searchPath?: string[];
}

/** The command line with the default solver put first, when none is chosen. */
export function trainArgv(argv: string[]): string[] {
  return argv.some((arg) => /^\+?solver=/.test(arg)) ? argv : [DEFAULT_SOLVER, ...argv];
}

/** Composes the config of `train` for a command line of overrides. Throws UserError for every mistake in it. */
export function composeTrainConfig(argv: string[], options: TrainConfigOptions = {}): ComposedConfig {
  provideUserVariable();
  return composeConfig({
    configDir: options.configDir ?? CONFIG_DIR,
    configName: options.configName,
    searchPath: options.searchPath,
    base: RUNTIME_BASE,
    overrides: options.configName === undefined ? trainArgv(argv) : argv,
  });
}

/** AudioCraft's files read the variable USER; where a container does not set it, the account's name serves. */
export function provideUserVariable(): void {
  if (process.env.USER) return;
  try {
    process.env.USER = os.userInfo().username;
  } catch {
    // An account without a name in the system's tables.
    process.env.USER = "user";
  }
}
