/** Finds the audio files of folders and asks each what it holds. */
import { type Dirent, readdirSync, realpathSync, statSync } from "node:fs";
import { extname, join } from "node:path";
import { UserError } from "../errors.ts";
import type { FileFacts, perform } from "./describe_file.ts";
import { runOnFiles } from "./file_jobs.ts";
import type { AudioMeta } from "./manifest.ts";

const EXTENSIONS = [".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff"];

/** Whether a file is audio by its name. */
export function isAudioName(name: string): boolean {
  return EXTENSIONS.includes(extname(name).toLowerCase());
}

/** Called for every file (or folder) that cannot be used. */
export type Unreadable = (path: string, reason: string) => void;

export interface ScanOptions {
  /** Also store each file's peak amplitude: decodes everything. */
  amplitude?: boolean;
  /** Threads that read; 0: this one. */
  workers?: number;
  onProgress?: (done: number, total: number) => void;
  onUnreadable?: Unreadable;
}

/** Rows for all readable audio files below `folder` (links followed), sorted by path. */
export async function scanFolder(folder: string, options: ScanOptions = {}): Promise<AudioMeta[]> {
  return describeFiles(listAudio(folder, options.onUnreadable), options);
}

/** Rows for those of the files that can be read, in their order. */
export async function describeFiles(
  paths: readonly string[],
  options: ScanOptions = {},
): Promise<AudioMeta[]> {
  const args: Parameters<typeof perform>[1] = { amplitude: options.amplitude === true };
  const module = new URL("./describe_file.ts", import.meta.url);
  const outcomes = await runOnFiles<typeof args, FileFacts>(module, args, paths, options);
  const rows: AudioMeta[] = [];
  for (const [i, outcome] of outcomes.entries()) {
    if ("error" in outcome) options.onUnreadable?.(paths[i], outcome.error);
    else rows.push({ path: paths[i], ...outcome.value, weight: null, infoPath: null });
  }
  return rows;
}

/**
 * Paths of the audio files below a folder, sorted. Links are followed; a file or folder that can be reached in several ways is
 * listed once, by the way without links if there is one. Throws UserError if `root` is not a folder.
 */
export function listAudio(root: string, onUnreadable: Unreadable = () => {}): string[] {
  if (!statSync(root, { throwIfNoEntry: false })?.isDirectory())
    throw new UserError(`${root} is not a folder`);
  /** Links wait until everything that is no link has been seen. */
  const links: string[] = [];
  const folders = new Set<string>();
  const files = new Map<string, string>();
  const walk = (folder: string, real: string) => {
    if (folders.has(real)) return;
    folders.add(real);
    for (const entry of entries(folder, onUnreadable)) {
      const path = join(folder, entry.name);
      if (entry.isSymbolicLink()) links.push(path);
      else if (entry.isDirectory()) walk(path, join(real, entry.name));
      else if (isAudioName(entry.name)) addFile(path, join(real, entry.name), entry.isFile());
    }
  };
  const addFile = (path: string, real: string, isFile: boolean) => {
    if (!isFile) onUnreadable(path, "it is not a regular file");
    else if (!files.has(real)) files.set(real, path);
  };
  walk(root, realpathSync(root));
  for (let link = links.shift(); link !== undefined; link = links.shift()) {
    const stat = followed(link);
    if (stat?.isDirectory()) walk(link, realpathSync(link));
    else if (!isAudioName(link)) continue;
    else if (stat) addFile(link, realpathSync(link), stat.isFile());
    else onUnreadable(link, "the link leads nowhere");
  }
  return [...files.values()].sort();
}

function entries(folder: string, onUnreadable: Unreadable): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    onUnreadable(folder, (error as Error).message);
    return [];
  }
}

function followed(link: string) {
  try {
    return statSync(link);
  } catch {
    return undefined;
  }
}
