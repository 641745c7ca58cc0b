/** The Hugging Face cache on disk: `models--org--name/{refs,snapshots,blobs}`, shared with the Python libraries. */
import { existsSync, mkdirSync, readFileSync, renameSync, symlinkSync } from "node:fs";
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
  const cacheHome = env.XDG_CACHE_HOME || join(homedir(), ".cache");
  const home = env.HF_HOME || join(cacheHome, "huggingface");
  const hub = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, "hub");
  const folders = env.AUDIOCRAFT_CACHE_DIR ? [env.AUDIOCRAFT_CACHE_DIR, hub] : [hub];
  return folders.map(expandHome);
}

export function expandHome(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
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
  if (!isCommit(revision)) {
    const ref = join(folder, "refs", revision);
    mkdirSync(dirname(ref), { recursive: true });
    await writeFileAtomically(ref, commit.length, (file) => file.append(Buffer.from(commit)));
  }
  return path;
}

function readRef(folder: string, revision: string): string | null {
  try {
    const commit = readFileSync(join(folder, "refs", revision), "utf8").trim();
    return isCommit(commit) ? commit : null;
  } catch {
    return null;
  }
}
