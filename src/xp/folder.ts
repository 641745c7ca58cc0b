/**
 * Experiment folders: `<dora dir>/xps/<signature>/` with the command line, the history and the checkpoints of one run.
 * One process at a time may train an experiment: it holds the folder's lock.
 */
import fs from "node:fs";
import path from "node:path";
import type { ComposedConfig } from "../config/config.ts";
import { PROJECT_ROOT } from "../config/train-config.ts";
import { UserError } from "../errors.ts";
import { loadEnvironment } from "./environment.ts";
import { FolderLock } from "./lock.ts";

/** One epoch: `{ train: { ce: 5.1, duration: 12 }, valid: { … } }`. */
export type EpochMetrics = Record<string, Record<string, number>>;

export interface Experiment {
  sig: string;
  dir: string;
  /** The command line that made it. */
  argv: string[];
}

export const CHECKPOINT_FILE = "checkpoint.safetensors";
const NUMBERED_CHECKPOINT = /^checkpoint_(\d+)\.safetensors$/;

/**
 * The folder of all experiments: AUDIOCRAFT_DORA_DIR; else the team's, if AUDIOCRAFT_TEAM or AUDIOCRAFT_CONFIG names one;
 * else `dora.dir` if the config changes it from AudioCraft's own cluster path; else `outputs` in the project. Absolute.
 */
export function resolveDoraDir(config: ComposedConfig, env: NodeJS.ProcessEnv = process.env): string {
  if (env.AUDIOCRAFT_DORA_DIR) return path.resolve(env.AUDIOCRAFT_DORA_DIR);
  if (env.AUDIOCRAFT_TEAM || env.AUDIOCRAFT_CONFIG) return loadEnvironment(env).doraDir;
  const configured = config.has("dora.dir") ? config.get("dora.dir") : undefined;
  if (typeof configured !== "string" || /^\/checkpoint\/.*\/audiocraft\/outputs$/.test(configured)) {
    return path.join(PROJECT_ROOT, "outputs");
  }
  return path.resolve(PROJECT_ROOT, configured);
}

export interface OpenOptions {
  /** Take the lock (default). Helper processes of the same run do not. */
  lock?: boolean;
}

/** An experiment in use; {@link close} gives the lock back. */
export class OpenExperiment implements Experiment {
  readonly sig: string;
  readonly dir: string;
  readonly argv: string[];
  readonly #lock: FolderLock | undefined;

  constructor(experiment: Experiment, lock: FolderLock | undefined) {
    this.sig = experiment.sig;
    this.dir = experiment.dir;
    this.argv = experiment.argv;
    this.#lock = lock;
  }

  /** A path inside the folder. */
  path(...parts: string[]): string {
    return path.join(this.dir, ...parts);
  }

  get history(): EpochMetrics[] {
    return readHistory(this.dir);
  }

  writeHistory(history: EpochMetrics[]): void {
    writeFileAtomic(this.path("history.json"), `${JSON.stringify(history, null, 2)}\n`);
  }

  /** The checkpoint to resume from. */
  get checkpoint(): string | undefined {
    return newestCheckpoint(this.dir);
  }

  close(): void {
    this.#lock?.release();
  }
}

/**
 * Creates or reopens `<doraDir>/xps/<sig>/`, writes `.argv.json` and takes the lock.
 * Throws UserError when another process trains the same experiment, or the folder cannot be written.
 */
export function openExperiment(
  doraDir: string,
  signature: { sig: string; argv: string[] },
  options: OpenOptions = {},
): OpenExperiment {
  const dir = path.join(doraDir, "xps", signature.sig);
  createFolder(dir);
  const lock = options.lock === false ? undefined : FolderLock.take(dir, `experiment ${signature.sig}`);
  writeFileAtomic(path.join(dir, ".argv.json"), JSON.stringify(signature.argv));
  return new OpenExperiment({ sig: signature.sig, dir, argv: signature.argv }, lock);
}

/** Makes an experiment known before a process trains it: its folder, with the command line in it. */
export function announceExperiment({ dir, argv }: Experiment): void {
  createFolder(dir);
  writeFileAtomic(path.join(dir, ".argv.json"), JSON.stringify(argv));
}

/** All experiments below a folder, the one written to last first. */
export function listExperiments(doraDir: string): Experiment[] {
  const parent = path.join(doraDir, "xps");
  if (!fs.existsSync(parent)) return [];
  const found: { experiment: Experiment; time: number }[] = [];
  for (const sig of fs.readdirSync(parent)) {
    const dir = path.join(parent, sig);
    const argv = readArgv(dir);
    if (argv) found.push({ experiment: { sig, dir, argv }, time: lastWrite(dir) });
  }
  return found.sort((a, b) => b.time - a.time).map(({ experiment }) => experiment);
}

/** The experiment with that signature, or a beginning of it that only one has. Throws UserError otherwise. */
export function findExperiment(doraDir: string, sig: string): Experiment {
  const all = listExperiments(doraDir);
  const matching = all.filter((experiment) => experiment.sig.startsWith(sig));
  if (matching.length === 1 && sig !== "") return matching[0]!;
  const known = (matching.length > 1 ? matching : all).slice(0, 8).map((experiment) => experiment.sig);
  const problem =
    matching.length > 1
      ? `'${sig}' could be any of`
      : `there is no experiment '${sig}' in ${doraDir}; there are`;
  throw new UserError(`${problem}: ${known.join(", ") || "none"}`);
}

/** Of the experiments that `accepts`, the one whose checkpoint is the newest; undefined when there is none. */
export function newestExperiment(
  doraDir: string,
  accepts: (experiment: Experiment) => boolean = () => true,
): Experiment | undefined {
  const withCheckpoint = listExperiments(doraDir)
    .filter(accepts)
    .flatMap((experiment) => {
      const checkpoint = newestCheckpoint(experiment.dir);
      return checkpoint ? [{ experiment, time: fs.statSync(checkpoint).mtimeMs }] : [];
    });
  return withCheckpoint.sort((a, b) => b.time - a.time)[0]?.experiment;
}

/**
 * The checkpoint of a folder that was written last: `checkpoint.safetensors`, or the `checkpoint_<epoch>.safetensors` of the
 * latest epoch when that is newer (a run with `checkpoint.save_last=false` writes no other).
 */
export function newestCheckpoint(dir: string): string | undefined {
  const names = fs.existsSync(dir) ? fs.readdirSync(dir) : [];
  const numbered = numberedCheckpoints(dir);
  const last = names.includes(CHECKPOINT_FILE) ? [path.join(dir, CHECKPOINT_FILE)] : [];
  const written = (file: string) => fs.statSync(file).mtimeMs;
  return [...last, ...numbered.slice(0, 1)].sort((a, b) => written(b) - written(a))[0];
}

/** The files `checkpoint_<epoch>.safetensors` of a folder, the latest epoch first. */
export function numberedCheckpoints(dir: string): string[] {
  const names = fs.existsSync(dir) ? fs.readdirSync(dir) : [];
  return names
    .map((name) => ({ name, epoch: Number(NUMBERED_CHECKPOINT.exec(name)?.[1] ?? Number.NaN) }))
    .filter(({ epoch }) => !Number.isNaN(epoch))
    .sort((a, b) => b.epoch - a.epoch)
    .map(({ name }) => path.join(dir, name));
}

/** The history of an experiment, [] when there is none. Throws UserError when the file is damaged. */
export function readHistory(dir: string): EpochMetrics[] {
  const file = path.join(dir, "history.json");
  if (!fs.existsSync(file)) return [];
  try {
    const history = JSON.parse(fs.readFileSync(file, "utf8"));
    if (Array.isArray(history)) return history;
  } catch {
    // Said below.
  }
  throw new UserError(`${file} is damaged: it should hold a JSON list with one object per epoch`);
}

/** Writes a file so that a reader, or a crash, sees the old content or the new one, never a part. */
export function writeFileAtomic(file: string, content: string): void {
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    const handle = fs.openSync(temporary, "w");
    try {
      fs.writeFileSync(handle, content);
      fs.fsyncSync(handle);
    } finally {
      fs.closeSync(handle);
    }
    fs.renameSync(temporary, file);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    throw new UserError(`cannot write ${file}: ${(error as Error).message}`);
  }
}

function createFolder(dir: string): void {
  try {
    fs.mkdirSync(dir, { recursive: true });
  } catch (error) {
    throw new UserError(`cannot create the experiment's folder ${dir}: ${(error as Error).message}`);
  }
}

function readArgv(dir: string): string[] | undefined {
  try {
    const argv = JSON.parse(fs.readFileSync(path.join(dir, ".argv.json"), "utf8"));
    return Array.isArray(argv) ? argv.map(String) : undefined;
  } catch {
    return undefined;
  }
}

function lastWrite(dir: string): number {
  const files = ["history.json", CHECKPOINT_FILE, ".argv.json"].map((name) => path.join(dir, name));
  return Math.max(...files.map((file) => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0));
}
