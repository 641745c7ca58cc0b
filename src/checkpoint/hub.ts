/** Files of Hugging Face repositories, from the cache or the hub, and their weights, in one file or in shards. */
import { existsSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { UserError } from "../errors.ts";
import { terminal } from "../log/live_line.ts";
import {
  cacheFolders,
  expandHome,
  findCached,
  type HubFile,
  isKnownMissing,
  isRelative,
  isSwitchedOn,
  noteMissing,
  snapshotPath,
} from "./hub_cache.ts";
import { downloadToCache, fileUrl, HubRefusal, HubUnreachable, type Progress } from "./hub_download.ts";
import type { WeightsReader } from "./safetensors.ts";
import { openShards, readIndex } from "./sharded.ts";
import { openWeights } from "./weights.ts";

export interface HubOptions {
  /** A branch, tag or commit; default: main. */
  revision?: string;
  /** Told of a download; by default the terminal shows it, unless HF_HUB_DISABLE_PROGRESS_BARS is set. */
  onProgress?: Progress;
}

/**
 * The path of a repository's file on this machine: in the cache, or else downloaded into it. Obeys HF_ENDPOINT, HF_TOKEN
 * (`accessToken`), HF_HUB_OFFLINE and the variables that place the cache (`cacheFolders`).
 * @param repoId "org/name", or the path of a local folder that holds the repository's files
 * @throws UserError when the file cannot be had, saying where to put it by hand; with `optional`, a file that the
 * repository does not have (or that an offline cache lacks) is null instead
 */
export function resolveHubFile(
  repoId: string,
  filename: string,
  options: HubOptions & { optional: true },
): Promise<string | null>;
export function resolveHubFile(repoId: string, filename: string, options?: HubOptions): Promise<string>;
export async function resolveHubFile(
  repoId: string,
  filename: string,
  { revision = "main", optional = false, onProgress }: HubOptions & { optional?: boolean } = {},
): Promise<string | null> {
  const folder = localFolder(repoId);
  if (folder !== null) return fileInFolder(folder, filename, optional);
  const file = checked({ repoId, filename, revision });
  const cached = findCached(file);
  if (cached !== null) return cached;
  if (optional && isKnownMissing(file)) return null;
  if (isSwitchedOn(process.env.HF_HUB_OFFLINE)) {
    if (optional) return null;
    throw unavailable(file, "HF_HUB_OFFLINE is set");
  }
  try {
    return await downloadToCache(cacheFolders()[0], file, onProgress ?? progressLine(file));
  } catch (error) {
    if (optional && error instanceof HubRefusal && error.missing) {
      if (error.commit !== null) await noteMissing(cacheFolders()[0], file, error.commit);
      return null;
    }
    if (error instanceof HubUnreachable) throw unavailable(file, error.message, error);
    throw error;
  } finally {
    if (onProgress === undefined) terminal.clear();
  }
}

function progressLine({ repoId, filename }: HubFile): Progress | undefined {
  if (isSwitchedOn(process.env.HF_HUB_DISABLE_PROGRESS_BARS)) return undefined;
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  return (done, total) =>
    terminal.update(`downloading ${repoId}/${filename}: ${megabytes(done)} of ${megabytes(total)} MB`);
}

/** In the order of preference. */
const WEIGHT_FILES = [
  "model.safetensors",
  "model.safetensors.index.json",
  "pytorch_model.bin",
  "pytorch_model.bin.index.json",
];

/**
 * The weights of a repository or local folder: one file or the shards of an index, as safetensors or else as PyTorch wrote
 * them. What is on this machine comes first: no question to the hub about one kind when another is here.
 * @throws UserError as `resolveHubFile`, naming all four files when there is none, or when the shards do not hold what the
 * index says
 */
export async function openHubWeights(folderOrRepo: string, options: HubOptions = {}): Promise<WeightsReader> {
  for (const name of WEIGHT_FILES) {
    const path = here(folderOrRepo, name, options);
    if (path !== null) return openAt(folderOrRepo, path, options);
  }
  if (localFolder(folderOrRepo) === null) {
    for (const name of WEIGHT_FILES) {
      const path = await resolveHubFile(folderOrRepo, name, { ...options, optional: true });
      if (path !== null) return openAt(folderOrRepo, path, options);
    }
  }
  const [first, ...others] = WEIGHT_FILES;
  try {
    return await openAt(folderOrRepo, await resolveHubFile(folderOrRepo, first, options), options);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(
      `${error.message}\nInstead of ${first}, one of these would do: ${others.join(", ")}`,
      {
        cause: error,
      },
    );
  }
}

/** Opens a file of the repository; when it is an index, its shards are fetched first. */
async function openAt(folderOrRepo: string, path: string, options: HubOptions): Promise<WeightsReader> {
  if (!path.endsWith(".index.json")) return openWeights(path);
  const weightMap = readIndex(path);
  const shards = new Map<string, string>();
  for (const shard of new Set(weightMap.values())) {
    shards.set(shard, await resolveHubFile(folderOrRepo, shard, options));
  }
  return openShards(dirname(path), weightMap, (shard) => openWeights(shards.get(shard)!));
}

function here(folderOrRepo: string, filename: string, { revision = "main" }: HubOptions): string | null {
  const folder = localFolder(folderOrRepo);
  if (folder !== null) return fileInFolder(folder, filename, true);
  return findCached(checked({ repoId: folderOrRepo, filename, revision }));
}

/** The folder that was given instead of a repository, or null. A folder that exists wins over a repository's name. */
function localFolder(repoId: string): string | null {
  const path = expandHome(repoId);
  const isFolder = existsSync(path) && statSync(path).isDirectory();
  if (!isFolder && /^(\.{0,2}\/|~)/.test(repoId)) throw new UserError(`${repoId}: no such folder`);
  return isFolder ? path : null;
}

function fileInFolder(folder: string, filename: string, optional: boolean): string | null {
  const path = join(folder, filename);
  if (existsSync(path)) return path;
  if (optional) return null;
  throw new UserError(
    `${path}: no such file; the folder is expected to hold the files of a model repository`,
  );
}

function checked(file: HubFile): HubFile {
  if (!/^[\w-][\w.-]*(\/[\w-][\w.-]*)?$/.test(file.repoId)) {
    throw new UserError(`"${file.repoId}" is neither a folder nor the name of a repository ("org/name")`);
  }
  if (!isRelative(file.filename))
    throw new UserError(`"${file.filename}" is not the name of a repository's file`);
  if (!isRelative(file.revision)) throw new UserError(`"${file.revision}" is not the name of a revision`);
  return file;
}

function unavailable(file: HubFile, reason: string, cause?: Error): UserError {
  const path = snapshotPath(cacheFolders()[0], file);
  return new UserError(
    `${file.repoId}: the file "${file.filename}" (revision ${file.revision}) is not in the cache and cannot be ` +
      `downloaded: ${reason}.\nPut it here:\n  ${path}\nOn a machine with a network, this fetches it:\n` +
      `  curl -fL -o ${basename(file.filename)} ${fileUrl(file)}`,
    { cause },
  );
}
