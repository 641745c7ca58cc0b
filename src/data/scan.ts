/** Makes manifests: finds the audio files of folders and asks each what it holds. */
import { mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, extname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { UserError } from "../errors.ts";
import { peak } from "./audio/normalize.ts";
import { audioInfo, readAudio } from "./audio/read.ts";
import { type AudioMeta, formatRow } from "./manifest.ts";

const EXTENSIONS = new Set([".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a"]);

export interface ScanOptions {
  /** Also store each file's peak amplitude: decodes everything. */
  complete?: boolean;
  /** Store absolute paths instead of paths below the folder as it was given. */
  absolute?: boolean;
  onProgress?: (done: number, total: number) => void;
  onUnreadable?: (path: string, reason: string) => void;
}

/** Rows for all readable audio files below `folder` (links followed), sorted by path. */
export async function scanFolder(folder: string, options: ScanOptions = {}): Promise<AudioMeta[]> {
  const paths = listAudio(options.absolute ? resolve(folder) : folder);
  const rows: AudioMeta[] = [];
  for (const [i, path] of paths.entries()) {
    try {
      rows.push(await describe(path, options.complete === true));
    } catch (error) {
      options.onUnreadable?.(path, (error as Error).message);
    }
    options.onProgress?.(i + 1, paths.length);
  }
  return rows;
}

async function describe(path: string, complete: boolean): Promise<AudioMeta> {
  const info = await audioInfo(path);
  const amplitude = complete ? peak((await readAudio(path)).samples) : null;
  return {
    path,
    duration: info.duration,
    sampleRate: info.sampleRate,
    amplitude,
    weight: null,
    infoPath: null,
  };
}

function listAudio(root: string): string[] {
  const found: string[] = [];
  const visited = new Set<string>();
  const walk = (folder: string) => {
    const real = realpathSync(folder);
    // A link may lead back up.
    if (visited.has(real)) return;
    visited.add(real);
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      const stat = statSync(path, { throwIfNoEntry: false });
      if (stat?.isDirectory()) walk(path);
      else if (EXTENSIONS.has(extname(name).toLowerCase())) found.push(path);
    }
  };
  const stat = statSync(root, { throwIfNoEntry: false });
  if (!stat?.isDirectory()) throw new UserError(`${root} is not a folder`);
  walk(root);
  return found.sort();
}

/** Writes a manifest, gzipped if its name ends in .gz, whole or not at all. */
export function writeManifest(file: string, rows: AudioMeta[]): void {
  const text = rows.map((row) => `${formatRow(row)}\n`).join("");
  mkdirSync(dirname(resolve(file)), { recursive: true });
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, file.endsWith(".gz") ? gzipSync(text) : text);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
