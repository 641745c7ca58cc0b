/** The Hugging Face cache on disk: `models--org--name/{refs,snapshots,blobs}`, shared with the Python libraries. */
import { existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";
import { writeFileAtomically } from "./atomic_file.ts";

/** A file of a repository on the hub. */
export interface HubFile {
  repoId: string;
  filename: string;
  /** A branch, a tag or a commit. */
  revision: string;
}

const COMMIT = /^[0-9a-f]{40}$/;

export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/**
 * The folders that are searched, in order; downloads go to the first. `AUDIOCRAFT_CACHE_DIR` comes before the Hugging
 * Face folder: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub` or
 * `~/.cache/huggingface/hub`.
 */
export function cacheFolders(env: NodeJS.ProcessEnv = process.env): string[] {
  const hub = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(hfHome(env), "hub");
  const folders = env.AUDIOCRAFT_CACHE_DIR ? [env.AUDIOCRAFT_CACHE_DIR, hub] : [hub];
  return folders.map(expandHome);
}

function hfHome(env: NodeJS.ProcessEnv): string {
  return env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
}

/** `HF_TOKEN`, or what `hf auth login` left in `HF_TOKEN_PATH` or `HF_HOME/token`; null without one. */
export function accessToken(env: NodeJS.ProcessEnv = process.env): string | null {
  const given = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || "").trim();
  if (given) return given;
  if (isSwitchedOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return null;
  try {
    return readFileSync(expandHome(env.HF_TOKEN_PATH || join(hfHome(env), "token")), "utf8").trim() || null;
  } catch {
    return null;
  }
}

/** How the Python libraries read a variable that switches something on. */
export function isSwitchedOn(value: string | undefined): boolean {
  return /^(1|on|yes|true)$/i.test(value ?? "");
}

export function expandHome(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}

/** A path that stays inside the folder it is joined to. */
export function isRelative(path: string): boolean {
  return (
    path !== "" && !path.includes("\\") && path.split("/").every((part) => !["", ".", ".."].includes(part))
  );
}

export function repoFolder(cache: string, repoId: string): string {
  return join(cache, `models--${repoId.replaceAll("/", "--")}`);
}

/** Where a file is expected in a cache: in the snapshot of the commit that the revision stands for there. */
export function snapshotPath(cache: string, { repoId, filename, revision }: HubFile): string {
  const folder = repoFolder(cache, repoId);
  return join(folder, "snapshots", readRef(folder, revision) ?? revision, filename);
}

/** The path of a file in the first cache that has it, or null. */
export function findCached(file: HubFile, caches = cacheFolders()): string | null {
  for (const cache of caches) {
    // a file that somebody put there by hand has no ref, its snapshot is named after the revision
    const byHand = join(repoFolder(cache, file.repoId), "snapshots", file.revision, file.filename);
    const found = [snapshotPath(cache, file), byHand].find((path) => existsSync(path));
    if (found) return found;
  }
  return null;
}

/** Whether a cache knows that the commit which the revision stands for has no such file. */
export function isKnownMissing(file: HubFile, caches = cacheFolders()): boolean {
  return caches.some((cache) => {
    const folder = repoFolder(cache, file.repoId);
    const commit = isCommit(file.revision) ? file.revision : readRef(folder, file.revision);
    return commit !== null && existsSync(join(folder, ".no_exist", commit, file.filename));
  });
}

/** Notes that a commit has no such file, as the Python libraries do, so that nobody asks again. */
export async function noteMissing(cache: string, file: HubFile, commit: string): Promise<void> {
  const folder = repoFolder(cache, file.repoId);
  const known = isCommit(file.revision) ? file.revision : readRef(folder, file.revision);
  // another commit than that of the files that are here: the revision has moved on, they stay in use
  if (known !== null && known !== commit) return;
  const path = join(folder, ".no_exist", commit, file.filename);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, "");
  if (known === null) await writeRef(folder, file.revision, commit);
}

export function blobPath(cache: string, repoId: string, etag: string): string {
  return join(repoFolder(cache, repoId), "blobs", etag);
}

/** Makes a complete blob visible as a file of the commit, and the revision a name of the commit. @returns the file */
export async function placeInCache(
  cache: string,
  { repoId, filename, revision }: HubFile,
  commit: string,
  blob: string,
): Promise<string> {
  const folder = repoFolder(cache, repoId);
  const path = join(folder, "snapshots", commit, filename);
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  symlinkSync(relative(dirname(path), blob), temporary);
  renameSync(temporary, path);
  if (!isCommit(revision)) await writeRef(folder, revision, commit);
  return path;
}

async function writeRef(folder: string, revision: string, commit: string): Promise<void> {
  const ref = join(folder, "refs", revision);
  mkdirSync(dirname(ref), { recursive: true });
  await writeFileAtomically(ref, commit.length, (file) => file.append(Buffer.from(commit)));
}

function readRef(folder: string, revision: string): string | null {
  try {
    const commit = readFileSync(join(folder, "refs", revision), "utf8").trim();
    return isCommit(commit) ? commit : null;
  } catch {
    return null;
  }
}
