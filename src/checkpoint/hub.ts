/** Files of Hugging Face repositories, from the cache or the hub, and their weights, in one file or in shards. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { UserError } from "../errors.ts";
import { cacheFolders, expandHome, findCached, type HubFile, snapshotPath } from "./hub_cache.ts";
import { downloadToCache, fileUrl, HubRefusal, HubUnreachable, type Progress } from "./hub_download.ts";
import { openSafetensors, type WeightsReader } from "./safetensors.ts";
import { mergeReaders } from "./sharded.ts";

export interface HubOptions {
  /** A branch, tag or commit; default: main. */
  revision?: string;
  onProgress?: Progress;
}

/**
 * The path of a repository's file on this machine: in the cache, or else downloaded into it. Obeys HF_ENDPOINT, HF_TOKEN,
 * HF_HUB_OFFLINE and the variables that place the cache (`cacheFolders`).
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
  if (isOffline()) {
    if (optional) return null;
    throw unavailable(file, "HF_HUB_OFFLINE is set");
  }
  try {
    return await downloadToCache(cacheFolders()[0], file, onProgress);
  } catch (error) {
    if (optional && error instanceof HubRefusal && error.missing) return null;
    if (error instanceof HubUnreachable) throw unavailable(file, error.message, error);
    throw error;
  }
}

/**
 * The weights of a repository or local folder: `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
 * @throws UserError as `resolveHubFile`, or when the shards do not hold what the index says
 */
export async function openHubWeights(folderOrRepo: string, options: HubOptions = {}): Promise<WeightsReader> {
  const single = "model.safetensors";
  const index = `${single}.index.json`;
  // what is on this machine comes first: no question to the hub about a single file when the shards are here
  const path = here(folderOrRepo, single, options) ?? here(folderOrRepo, index, options);
  if (path !== null) return openWeights(folderOrRepo, path, options);
  const found =
    (await resolveHubFile(folderOrRepo, single, { ...options, optional: true })) ??
    (await resolveHubFile(folderOrRepo, index, { ...options, optional: true })) ??
    (await resolveHubFile(folderOrRepo, single, options));
  return openWeights(folderOrRepo, found, options);
}

async function openWeights(folderOrRepo: string, path: string, options: HubOptions): Promise<WeightsReader> {
  if (!path.endsWith(".index.json")) return openSafetensors(path);
  const weightMap = readIndex(path);
  const readers = new Map<string, WeightsReader>();
  try {
    for (const shard of new Set(weightMap.values())) {
      readers.set(shard, openSafetensors(await resolveHubFile(folderOrRepo, shard, options)));
    }
    return mergeReaders(dirname(path), weightMap, readers);
  } catch (error) {
    for (const reader of readers.values()) reader.close();
    throw error;
  }
}

/** Tensor name -> name of the shard that holds it. */
function readIndex(path: string): Map<string, string> {
  let weightMap: unknown;
  try {
    weightMap = JSON.parse(readFileSync(path, "utf8"))?.weight_map;
  } catch (error) {
    throw new UserError(`${path}: cannot be read as JSON: ${(error as Error).message}`);
  }
  const entries = typeof weightMap === "object" && weightMap !== null ? Object.entries(weightMap) : [];
  if (entries.length === 0 || !entries.every(([, shard]) => typeof shard === "string" && isRelative(shard))) {
    throw new UserError(`${path}: its weight_map does not map tensor names to files beside it`);
  }
  return new Map(entries);
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

/** A path that stays inside the folder it is joined to. */
function isRelative(path: string): boolean {
  return (
    path !== "" && !path.includes("\\") && path.split("/").every((part) => !["", ".", ".."].includes(part))
  );
}

function isOffline(): boolean {
  return /^(1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE ?? "");
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
