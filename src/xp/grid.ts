/**
 * Grids: a module exports `explorer`, a function that gets a launcher and calls it once per experiment, as Dora's
 * explorers do. This file turns such a function into the list of its experiments.
 */
import fs from "node:fs";
import path from "node:path";
import { matchesPattern } from "../config/pattern.ts";
import { CONFIG_DIR, composeTrainConfig, PROJECT_ROOT } from "../config/train-config.ts";
import { UserError } from "../errors.ts";
import { importUserModule } from "../modules.ts";
import { type Experiment, resolveDoraDir } from "./folder.ts";
import { type LaunchArgument, type LaunchValue, launchArgv } from "./launch-argv.ts";
import { experimentName, trainSignature } from "./signature.ts";
import { type Column, LM_COLUMNS } from "./status.ts";

/** An override `key=value`, a mapping of keys to values, or a list of both. Whole numbers are integers: write `"lr=1.0"` for a float. */
export type GridArgument = string | { [key: string]: GridValue } | GridArgument[];
export type GridValue = string | number | boolean | null | GridValue[] | { [key: string]: GridValue };

/** Dora's fields of a SLURM job. Here they are checked and kept for the SLURM launcher; local runs do without them. */
export interface SlurmFields {
  gpus?: number;
  mem_per_gpu?: number;
  time?: number;
  cpus_per_gpu?: number;
  cpus_per_task?: number;
  partition?: string;
  comment?: string;
  setup?: string[];
  max_num_timeout?: number;
  constraint?: string;
  account?: string;
  qos?: string;
  exclude?: string;
  array_parallelism?: number;
  one_task_per_node?: boolean;
  dependents?: number;
}

/** Called, it schedules an experiment with what has been bound so far and the arguments of the call. */
export interface Launcher {
  (...args: GridArgument[]): void;
  /** A launcher with more overrides; this one stays as it is. */
  bind(...args: GridArgument[]): Launcher;
  /** Adds overrides to this launcher. */
  bind_(...args: GridArgument[]): Launcher;
  /** A launcher with other SLURM fields. */
  slurm(fields: SlurmFields): Launcher;
  slurm_(fields: SlurmFields): Launcher;
  /** Groups experiments into one SLURM job array. */
  job_array(schedule: () => void): void;
}

export type Explorer = (launcher: Launcher) => void;

export interface Grid {
  name: string;
  explorer: Explorer;
  columns: Column[];
}

export interface GridExperiment extends Experiment {
  name: string;
  slurm: SlurmFields;
}

const SLURM_FIELDS: (keyof SlurmFields)[] = [
  "gpus",
  "mem_per_gpu",
  "time",
  "cpus_per_gpu",
  "cpus_per_task",
  "partition",
  "comment",
  "setup",
  "max_num_timeout",
  "constraint",
  "account",
  "qos",
  "exclude",
  "array_parallelism",
  "one_task_per_node",
  "dependents",
];

/** Where grids are looked for by name. */
export const GRIDS_DIR = path.join(PROJECT_ROOT, "grids");

/** The experiments that an explorer schedules, in its order; those with the same signature are one. */
export function gridExperiments(explorer: Explorer): GridExperiment[] {
  const scheduled: Scheduled[] = [];
  explorer(launcherOf({ args: [], slurm: {} }, scheduled, { isOpen: false }));
  const bySignature = new Map<string, GridExperiment>();
  for (const { args, slurm } of scheduled) {
    const argv = launchArgv(args.map(launchArgument), CONFIG_DIR);
    const { sig, argv: kept, delta } = trainSignature(argv);
    const dir = path.join(resolveDoraDir(composeTrainConfig(argv)), "xps", sig);
    if (!bySignature.has(sig))
      bySignature.set(sig, { sig, dir, argv: kept, name: experimentName(delta), slurm });
  }
  return [...bySignature.values()];
}

/** Patterns as of `dora grid`: a number selects by index, a text by a part of the name, `!text` excludes; all must hold. */
export function selectExperiments(experiments: GridExperiment[], patterns: string[]): GridExperiment[] {
  const indices = patterns.filter((pattern) => /^\d+$/.test(pattern)).map(Number);
  const texts = patterns.filter((pattern) => !/^\d+$/.test(pattern));
  return experiments.filter(({ name }, i) => {
    if (indices.length > 0 && !indices.includes(i)) return false;
    return texts.every((text) =>
      text.startsWith("!") ? !matchesPattern(name, `*${text.slice(1)}*`) : matchesPattern(name, `*${text}*`),
    );
  });
}

/** Loads a grid: a file, or the name of one in `grids/` (`a.b` or `a/b`). Throws UserError with the names there are. */
export async function loadGrid(nameOrFile: string, gridsDir: string = GRIDS_DIR): Promise<Grid> {
  const file = findGridFile(nameOrFile, gridsDir);
  const module = await importModule(file);
  const explorer = module.explorer ?? module.default;
  if (typeof explorer !== "function") {
    throw new UserError(
      `${file} must export a function: export const explorer: Explorer = (launcher) => { … }`,
    );
  }
  const inside = path.relative(gridsDir, file);
  const name = (inside.startsWith("..") ? path.basename(file) : inside).replace(/\.[cm]?[jt]s$/, "");
  return { name: name.replaceAll(path.sep, "."), explorer, columns: module.columns ?? LM_COLUMNS };
}

async function importModule(file: string) {
  try {
    return await importUserModule<{ explorer: Explorer; default: Explorer; columns: Column[] }>(file);
  } catch (error) {
    // Outside of a package Node takes `.ts` and `.js` for CommonJS.
    const isCommonJs = /CYCLE|REQUIRE/.test((error as { code?: string }).code ?? "");
    const problem = isCommonJs
      ? "outside of this checkout its name must end in .mts or .mjs"
      : (error as Error).message.split("\n")[0];
    throw new UserError(`cannot load the grid ${file}: ${problem}`);
  }
}

/** The names of the grids in a folder; files that begin with `_` are parts of others. */
export function gridNames(gridsDir: string = GRIDS_DIR): string[] {
  if (!fs.existsSync(gridsDir)) return [];
  return fs
    .readdirSync(gridsDir, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.[cm]?[jt]s$/.test(file) && !path.basename(file).startsWith("_"))
    .map((file) => file.replace(/\.[cm]?[jt]s$/, "").replaceAll(path.sep, "."))
    .sort();
}

/** Links `<doraDir>/grids/<name>/<sig>` to the experiments, and removes links to those that are no longer in the grid. */
export function linkGrid(doraDir: string, name: string, experiments: Experiment[]): void {
  const folder = path.join(doraDir, "grids", name);
  fs.mkdirSync(folder, { recursive: true });
  for (const entry of fs.readdirSync(folder)) {
    const link = path.join(folder, entry);
    if (fs.lstatSync(link).isSymbolicLink()) fs.rmSync(link);
  }
  for (const { sig, dir } of experiments) fs.symlinkSync(path.relative(folder, dir), path.join(folder, sig));
}

interface Scheduled {
  args: GridArgument[];
  slurm: SlurmFields;
}

function launcherOf(bound: Scheduled, scheduled: Scheduled[], array: { isOpen: boolean }): Launcher {
  let { args, slurm } = bound;
  const copy = (more: GridArgument[], fields: SlurmFields) =>
    launcherOf({ args: [...args, ...more], slurm: { ...slurm, ...checkedFields(fields) } }, scheduled, array);
  const launcher: Launcher = Object.assign(
    (...more: GridArgument[]) => {
      scheduled.push({ args: [...args, ...more], slurm });
    },
    {
      bind: (...more: GridArgument[]) => copy(more, {}),
      slurm: (fields: SlurmFields) => copy([], fields),
      bind_(...more: GridArgument[]) {
        args = [...args, ...more];
        return launcher;
      },
      slurm_(fields: SlurmFields) {
        slurm = { ...slurm, ...checkedFields(fields) };
        return launcher;
      },
      job_array(schedule: () => void) {
        if (array.isOpen) throw new UserError("a job array cannot be inside another");
        array.isOpen = true;
        try {
          schedule();
        } finally {
          array.isOpen = false;
        }
      },
    },
  );
  return launcher;
}

function checkedFields(fields: SlurmFields): SlurmFields {
  for (const key of Object.keys(fields)) {
    if (!(SLURM_FIELDS as string[]).includes(key))
      throw new UserError(`'${key}' is not a field of SLURM jobs; there are: ${SLURM_FIELDS.join(", ")}`);
  }
  return fields;
}

function launchArgument(argument: GridArgument): LaunchArgument {
  if (typeof argument === "string") return argument;
  if (Array.isArray(argument)) return argument.map(launchArgument);
  return new Map(Object.entries(argument).map(([key, value]) => [key, launchValue(value)]));
}

function launchValue(value: GridValue): LaunchValue {
  if (Array.isArray(value)) return value.map(launchValue);
  if (typeof value === "object" && value !== null)
    return new Map(Object.entries(value).map(([key, item]) => [key, launchValue(item)]));
  return typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
}

function findGridFile(name: string, gridsDir: string): string {
  const inside = path.join(gridsDir, ...name.replace(/\.[cm]?[jt]s$/, "").split(/[./]/));
  const endings = [".ts", ".mts", ".js", ".mjs"];
  const candidates = [path.resolve(name), ...endings.map((ending) => inside + ending)];
  const file = candidates.find((candidate) => fs.statSync(candidate, { throwIfNoEntry: false })?.isFile());
  if (file) return file;
  const known = gridNames(gridsDir).join(", ") || "none";
  throw new UserError(
    `there is no grid '${name}': it is neither a file nor one of those in ${gridsDir} (${known})`,
  );
}
