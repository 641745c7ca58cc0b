/** Makes the example data sets, `dset=audio/example` and `audio/example_large`, the first time that they are asked for. */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserError } from "../../errors.ts";
import { describeClip } from "./description.ts";
import { errorCode, type FolderLock, LockLost, tryLock } from "./folder_lock.ts";
import { largeExampleSpecs } from "./large_set.ts";
import { type ClipSpec, clipFrames, exampleSpecs } from "./specs.ts";
import { synthesizeClip } from "./synthesize.ts";
import { writeClip } from "./write_clip.ts";

/** Raise it when any clip or description changes: folders of another version are made anew. */
const VERSION = 2;

/** Folders relative to the project root, which is also what the manifests' paths begin with, and the clips in them. */
const SETS = {
  "egs/example": exampleSpecs,
  "egs/example_large": largeExampleSpecs,
};

export type ExampleFolder = keyof typeof SETS;

/** The example folders that a config's data sources lie in. */
export function exampleFolders(sources: readonly (string | null | undefined)[]): ExampleFolder[] {
  const folders = Object.keys(SETS) as ExampleFolder[];
  return folders.filter((folder) => sources.some((source) => `${source}/`.startsWith(`${folder}/`)));
}

export interface ExampleDataOptions {
  /** The project root: the data go to `folder` in it. */
  root: string;
  /** Which set: `egs/example` by default. */
  folder?: ExampleFolder;
  /** Called as clips are finished, by this process or by another one that is making them. */
  onProgress?: (done: number, total: number) => void;
  /** The clips to make; all of the set by default. */
  specs?: ClipSpec[];
}

interface ClipSet {
  name: ExampleFolder;
  specs: ClipSpec[];
}

/** A line of a manifest, as AudioCraft writes it without `--complete`. */
interface ManifestEntry {
  path: string;
  duration: number;
  sample_rate: number;
  amplitude: null;
  weight: null;
  info_path: null;
}

/**
 * Makes sure that the folder holds its example data set: audio with JSON sidecars in `clips/`, and the manifests
 * `data.jsonl`, `train/data.jsonl` and `valid/data.jsonl`. A complete folder is left alone, a half-made one is
 * completed, one of another version is replaced; of several processes at once, one makes it and the others wait.
 * A `data.jsonl` that is not ours (there is no `version.json` beside it) is the user's and is not touched.
 *
 * @returns the path of the manifest of all clips, and whether this call made something
 * @throws UserError when the folder cannot be written
 */
export async function ensureExampleData(
  options: ExampleDataOptions,
): Promise<{ manifest: string; created: boolean }> {
  const { folder: name = "egs/example" } = options;
  const set: ClipSet = { name, specs: options.specs ?? SETS[name]() };
  const { specs } = set;
  const folder = join(options.root, name);
  const manifest = join(folder, "data.jsonl");
  try {
    if ((await isComplete(folder, specs)) || (await isForeign(folder))) return { manifest, created: false };
    await mkdir(folder, { recursive: true });
    while (true) {
      const lock = await tryLock(join(folder, ".lock"));
      if (lock) {
        const finished = await buildUnderLock(lock, folder, set, options.onProgress);
        if (finished) return { manifest, created: finished === "created" };
      }
      await sleep(200);
      if (await isComplete(folder, specs)) return { manifest, created: false };
      options.onProgress?.(
        Math.min(specs.length, (await fileNames(join(folder, "clips"))).size >> 1),
        specs.length,
      );
    }
  } catch (error) {
    throw explained(error, folder, specs);
  }
}

/** "created"; "found" if another process had just finished; null if the lock was lost to another process. */
async function buildUnderLock(
  lock: FolderLock,
  folder: string,
  set: ClipSet,
  onProgress: ExampleDataOptions["onProgress"],
): Promise<"created" | "found" | null> {
  try {
    if (await isComplete(folder, set.specs)) return "found";
    await build(lock, folder, set, onProgress);
    return "created";
  } catch (error) {
    if (error instanceof LockLost) return null;
    throw error;
  } finally {
    await lock.release();
  }
}

async function build(
  lock: FolderLock,
  folder: string,
  { name: setName, specs }: ClipSet,
  onProgress: ExampleDataOptions["onProgress"],
): Promise<void> {
  const clips = join(folder, "clips");
  if ((await readVersion(folder))?.version !== VERSION) await rm(clips, { recursive: true, force: true });
  for (const name of ["clips", "train", "valid"]) await mkdir(join(folder, name), { recursive: true });
  await lock.write(join(folder, "version.json"), text(versionLine(specs, false)));

  const present = await fileNames(clips);
  for (const [i, spec] of specs.entries()) {
    if (!hasClip(present, spec)) await makeClip(lock, clips, spec);
    onProgress?.(i + 1, specs.length);
  }
  for (const split of ["train", "valid"] as const) {
    const chosen = specs.filter((spec) => spec.split === split);
    await lock.write(join(folder, split, "data.jsonl"), text(manifestLines(setName, chosen)));
  }
  await lock.write(join(folder, "data.jsonl"), text(manifestLines(setName, specs)));
  await lock.write(join(folder, "version.json"), text(versionLine(specs, true)));
}

async function makeClip(lock: FolderLock, clips: string, spec: ClipSpec): Promise<void> {
  const { samples, sampleRate } = synthesizeClip(spec);
  await lock.write(join(clips, fileName(spec)), (path) => writeClip(path, samples, sampleRate, spec.format));
  const sidecar = `${JSON.stringify(describeClip(spec), null, 2)}\n`;
  await lock.write(join(clips, `${spec.id}.json`), text(sidecar));
}

function text(content: string): (path: string) => Promise<void> {
  return (path) => writeFile(path, content);
}

function manifestLines(folder: string, specs: ClipSpec[]): string {
  return specs.map((spec) => `${JSON.stringify(manifestEntry(folder, spec))}\n`).join("");
}

function manifestEntry(folder: string, spec: ClipSpec): ManifestEntry {
  return {
    path: `${folder}/clips/${fileName(spec)}`,
    duration: clipFrames(spec) / spec.sampleRate,
    sample_rate: spec.sampleRate,
    amplitude: null,
    weight: null,
    info_path: null,
  };
}

function fileName(spec: ClipSpec): string {
  return `${spec.id}.${spec.format}`;
}

function hasClip(names: Set<string>, spec: ClipSpec): boolean {
  return names.has(fileName(spec)) && names.has(`${spec.id}.json`);
}

function versionLine(specs: ClipSpec[], complete: boolean): string {
  return `${JSON.stringify({ version: VERSION, clips: specs.length, complete })}\n`;
}

async function isComplete(folder: string, specs: ClipSpec[]): Promise<boolean> {
  const found = await readVersion(folder);
  if (found?.version !== VERSION || found.clips !== specs.length || !found.complete) return false;
  const names = await fileNames(folder);
  const [clips, train, valid] = await Promise.all(
    ["clips", "train", "valid"].map((name) => fileNames(join(folder, name))),
  );
  const manifests = names.has("data.jsonl") && train.has("data.jsonl") && valid.has("data.jsonl");
  return manifests && specs.every((spec) => hasClip(clips, spec));
}

async function isForeign(folder: string): Promise<boolean> {
  const names = await fileNames(folder);
  return names.has("data.jsonl") && !names.has("version.json");
}

async function readVersion(
  folder: string,
): Promise<{ version: number; clips: number; complete: boolean } | undefined> {
  try {
    return JSON.parse(await readFile(join(folder, "version.json"), "utf8"));
  } catch (error) {
    if (error instanceof SyntaxError || errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** The names in a folder; none if it does not exist. */
async function fileNames(folder: string): Promise<Set<string>> {
  try {
    return new Set(await readdir(folder));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return new Set();
    throw error;
  }
}

/** The user's words for a disk that cannot be written. */
function explained(error: unknown, folder: string, specs: ClipSpec[]): unknown {
  const bytes = specs.reduce((sum, spec) => sum + clipFrames(spec) * 2 * spec.channels, 0);
  const needs = `the example data set needs ${Math.ceil(bytes / 1e6)} MB`;
  const remedy: Record<string, string> = {
    ENOSPC: `the disk is full; ${needs}, free some space and run again`,
    EDQUOT: `your disk quota is used up; ${needs}, free some space and run again`,
    EACCES: "permission denied; make the folder writable or work in a checkout of your own",
    EPERM: "permission denied; make the folder writable or work in a checkout of your own",
    EROFS: "the file system is read-only; work in a checkout on a writable disk",
    ENOTDIR: "something on that path is a file, not a folder; move it away",
    EEXIST: "something on that path is a file, not a folder; move it away",
  };
  const reason = remedy[errorCode(error) ?? ""];
  return reason ? new UserError(`cannot make the example data in ${folder}: ${reason}`) : error;
}
