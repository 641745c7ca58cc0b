/** Manifests in AudioCraft's format: JSON lines, one audio file each, plain or gzipped. */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { writeError } from "../checkpoint/atomic_file.ts";
import { UserError } from "../errors.ts";
import { mapDatasetPath } from "../xp/environment.ts";

/** A manifest's row. `duration` is in seconds. */
export interface AudioMeta {
  path: string;
  duration: number;
  sampleRate: number | null;
  amplitude: number | null;
  /** Relative frequency of being sampled; null counts as 1. */
  weight: number | null;
  /** "<zip>:<path inside>" or null. */
  infoPath: string | null;
}

/** Replacements in the paths of audio files, applied in order: where data lies elsewhere on this cluster. */
export type PathMappers = readonly (readonly [RegExp, string])[];

/**
 * Rows of a manifest. `source` is the file, or a folder with `data.jsonl` (preferred) or `data.jsonl.gz`.
 * Paths go through `mappers`; relative ones are looked up from `cwd`, then from the manifest's folder. Throws UserError for a missing manifest, a line
 * that is not a row, and a manifest without rows.
 */
export function readManifest(
  source: string,
  cwd: string = process.cwd(),
  mappers: PathMappers = [],
): AudioMeta[] {
  const file = findManifest(source, cwd);
  const rows = readRows(file);
  if (rows.length === 0) throw new UserError(`${file}: the data set is empty (the manifest has no rows)`);
  const find = pathLocator(cwd, dirname(file));
  const locate = (path: string) => find(mapDatasetPath(path, { datasetMappers: mappers }));
  return rows.map((row) => {
    const [zip, ...inner] = row.infoPath?.split(":") ?? [];
    const infoPath = zip ? [locate(zip), ...inner].join(":") : row.infoPath;
    return { ...row, path: locate(row.path), infoPath };
  });
}

/** Rows of a manifest file as they are written there. Throws UserError. */
export function readRows(file: string): AudioMeta[] {
  const bytes = readFileSync(file);
  const text = (file.endsWith(".gz") ? unzip(file, bytes) : bytes).toString("utf8");
  const rows: AudioMeta[] = [];
  for (const [i, line] of text.split("\n").entries())
    if (line.trim() !== "") rows.push(parseRow(line, `${file}:${i + 1}`));
  return rows;
}

/** The file of a manifest that is given as a file or as a folder. Throws UserError if there is none. */
export function findManifest(source: string, cwd: string = process.cwd()): string {
  const path = resolve(cwd, source);
  const folder = existsSync(path) && statSync(path).isDirectory();
  const candidates = folder ? [join(path, "data.jsonl"), join(path, "data.jsonl.gz")] : [path];
  const found = candidates.find((candidate) => existsSync(candidate));
  if (found) return found;
  const missing = folder ? `${path} holds neither data.jsonl nor data.jsonl.gz` : `${path} does not exist`;
  const out = folder || !/\.jsonl(\.gz)?$/.test(path) ? join(source, "data.jsonl") : source;
  throw new UserError(
    `manifest not found: ${missing}. Make one with: npm run manifest -- FOLDER_WITH_AUDIO --out ${out}`,
  );
}

function unzip(file: string, bytes: Buffer): Buffer {
  try {
    return gunzipSync(bytes);
  } catch (error) {
    throw new UserError(`${file}: not a valid gzip file (${(error as Error).message})`);
  }
}

function parseRow(line: string, where: string): AudioMeta {
  const shown = line.length > 120 ? `${line.slice(0, 120)}…` : line;
  let row: Record<string, unknown>;
  try {
    row = JSON.parse(line);
  } catch {
    throw new UserError(`${where}: this line is not JSON: ${shown}`);
  }
  if (row === null || typeof row !== "object" || typeof row.path !== "string" || row.path === "")
    throw new UserError(`${where}: a row must be an object with a "path": ${shown}`);
  if (typeof row.duration !== "number" || !(row.duration >= 0))
    throw new UserError(`${where}: a row needs a "duration" in seconds: ${shown}`);
  const number = (key: string) => (typeof row[key] === "number" ? (row[key] as number) : null);
  const weight = number("weight");
  if (weight !== null && !(weight >= 0))
    throw new UserError(`${where}: "weight" must not be negative: ${shown}`);
  return {
    path: row.path,
    duration: row.duration,
    sampleRate: number("sample_rate"),
    amplitude: number("amplitude"),
    weight,
    infoPath: typeof row.info_path === "string" ? row.info_path : null,
  };
}

/** Resolves paths; what one file of a folder shows is taken to hold for its neighbours, as each look-up may ask a file server. */
function pathLocator(cwd: string, manifestFolder: string): (path: string) => string {
  const bases = new Map<string, string>();
  return (path) => {
    if (isAbsolute(path)) return path;
    const folder = dirname(path);
    let base = bases.get(folder);
    if (base === undefined) {
      base = [cwd, manifestFolder].find((candidate) => existsSync(join(candidate, path)));
      if (base !== undefined) bases.set(folder, base);
    }
    return resolve(base ?? cwd, path);
  };
}

/** One line of a manifest, with AudioCraft's field names in its order. */
export function formatRow(meta: AudioMeta): string {
  return JSON.stringify({
    path: meta.path,
    duration: meta.duration,
    sample_rate: meta.sampleRate,
    amplitude: meta.amplitude,
    weight: meta.weight,
    info_path: meta.infoPath,
  });
}

/**
 * Writes a manifest, gzipped if its name ends in .gz, whole or not at all. `asOf`: the time (ms) whose state of the files it
 * tells, which becomes its time of modification. Throws UserError when the system refuses.
 */
export function writeManifest(file: string, rows: readonly AudioMeta[], asOf?: number): void {
  const text = rows.map((row) => `${formatRow(row)}\n`).join("");
  const bytes = file.endsWith(".gz") ? gzipSync(text) : Buffer.from(text);
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    mkdirSync(dirname(resolve(file)), { recursive: true });
    writeFileSync(temporary, bytes);
    if (asOf !== undefined) utimesSync(temporary, asOf / 1000, asOf / 1000);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw writeError(file, bytes.length, error as NodeJS.ErrnoException);
  }
}
