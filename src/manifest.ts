/** `npm run manifest -- SOURCE... --out FILE`: writes the manifest of folders, tables or shards of audio. */
import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { type AudioMeta, writeManifest } from "./data/manifest.ts";
import { describeFiles } from "./data/scan.ts";
import { UserError } from "./errors.ts";
import { terminal } from "./log/live_line.ts";
import { printText } from "./log/print.ts";
import { type Limits, type ManifestArguments, parseArguments, USAGE } from "./manifest/arguments.ts";
import { writeDescription } from "./manifest/descriptions.ts";
import { type FoundAudio, findAudio } from "./manifest/sources.ts";
import { SPLIT_NAMES, splitFiles } from "./manifest/split.ts";
import { EarlierManifest } from "./manifest/update.ts";

/** Runs the command. Exit code 1: the manifest is written, but some files could not be read. */
export async function main(argv: string[]): Promise<number> {
  const args = parseArguments(argv);
  if (!args) {
    await printText(`${USAGE}\n`);
    return 0;
  }
  const began = Date.now();
  const unreadable: string[] = [];
  const onUnreadable = (path: string, reason: string) =>
    unreadable.push(reason.includes(path) ? reason : `${path}: ${reason}`);
  const found = await collect(args, onUnreadable);
  const earlier = new EarlierManifest(args.update ? outputs(args) : []);
  addOthers(found, earlier, args);
  const read = await readRows(found, earlier, args, onUnreadable);
  const rows = read.filter((row) => within(row, args.limits));
  for (const line of unreadable) console.error(`not readable: ${line}`);
  if (rows.length === 0) throw new UserError(nothing(args, read.length, unreadable.length));
  const described = describeAll(rows, found, args.overwrite);
  writeOutputs(rows, found, earlier, args, began);
  const hours = rows.reduce((sum, row) => sum + row.duration, 0) / 3600;
  const counts = [
    `${rows.length} files, ${hours.toFixed(2)} h`,
    ...(read.length > rows.length ? [`${read.length - rows.length} outside of the limits`] : []),
    ...(described > 0 ? [`${described} descriptions written`] : []),
    `${unreadable.length} not readable`,
  ];
  await printText(`${outputs(args).join(", ")}: ${counts.join(", ")}\n`);
  return unreadable.length > 0 ? 1 : 0;
}

/** Found files by the path that their row will have. */
type Found = Map<string, FoundAudio>;

async function collect(
  args: ManifestArguments,
  onUnreadable: (path: string, reason: string) => void,
): Promise<Found> {
  const found: Found = new Map();
  const sources = findAudio(args.sources, {
    audio: args.audio,
    extract: args.extract ?? join(dirname(args.out), "audio"),
    onUnreadable,
    onMissing: (table, missing, total) =>
      console.error(
        `${table}: no audio for ${missing.length} of ${total} rows: ${missing.slice(0, 5).join(", ")}${missing.length > 5 ? ", …" : ""}`,
      ),
    onProgress: (source, count) => {
      if (count % 100 === 0) terminal.update(`${source}: ${count} files`);
    },
  });
  for await (const audio of sources) {
    const path = args.resolve ? realpathSync(audio.path) : audio.path;
    if (!found.has(path)) found.set(path, { ...audio, path });
  }
  terminal.clear();
  return found;
}

/** Rows of the earlier manifest that the sources do not name stay as long as their files exist. */
function addOthers(found: Found, earlier: EarlierManifest, { sources }: ManifestArguments): void {
  const folders = sources.map((source) => `${resolve(source)}/`);
  // A file below a folder that was searched and did not turn up is no longer wanted there.
  for (const path of earlier.others(new Set([...found.keys()].map((path) => resolve(path)))))
    if (!folders.some((folder) => resolve(path).startsWith(folder)))
      found.set(path, { path, identity: path, weight: null, description: undefined, expected: null });
}

async function readRows(
  found: Found,
  earlier: EarlierManifest,
  args: ManifestArguments,
  onUnreadable: (path: string, reason: string) => void,
): Promise<AudioMeta[]> {
  const paths = [...found.keys()].sort();
  const known = new Map<string, AudioMeta>();
  for (const path of paths) {
    const row = earlier.unchanged(path, args.complete);
    if (row) known.set(path, { ...row, path });
  }
  const fresh = await describeFiles(
    paths.filter((path) => !known.has(path)),
    {
      amplitude: args.complete,
      workers: args.workers,
      onUnreadable,
      onProgress: (done, total) => terminal.update(`reading ${done}/${total}`),
    },
  );
  terminal.clear();
  for (const row of fresh) {
    const old = earlier.row(row.path);
    const weight = found.get(row.path)?.weight ?? old?.weight ?? null;
    known.set(row.path, { ...row, weight, infoPath: old?.infoPath ?? null });
  }
  return paths.flatMap((path) => known.get(path) ?? []);
}

function within({ duration, sampleRate }: AudioMeta, limits: Limits): boolean {
  const rate = sampleRate ?? 0;
  return (
    duration >= limits.minDuration &&
    duration <= limits.maxDuration &&
    rate >= limits.minRate &&
    rate <= limits.maxRate
  );
}

function nothing({ sources, out }: ManifestArguments, read: number, unreadable: number): string {
  const where = sources.length > 0 ? `below ${sources.join(", ")}` : `of ${out}`;
  if (read > 0) return `none of the ${read} files ${where} is within the limits of duration and rate`;
  return `no readable audio file ${where}${unreadable > 0 ? ` (${unreadable} cannot be read)` : ""}`;
}

/** How many sidecars were written. */
function describeAll(rows: readonly AudioMeta[], found: Found, overwrite: boolean): number {
  let longer = 0;
  let written = 0;
  for (const row of rows) {
    const { description, expected } = found.get(row.path)!;
    if (!description) continue;
    if (expected !== null && row.duration > 1.5 * expected + 1) longer++;
    if (writeDescription(row, description, overwrite)) written++;
  }
  if (longer > 0)
    console.error(
      `${longer} files are longer than the clips that are described: their descriptions may not fit all of them`,
    );
  return written;
}

/** The manifests that are written. */
function outputs({ out, split }: ManifestArguments): string[] {
  if (!split) return [out];
  return SPLIT_NAMES.filter((_, i) => split[i] > 0).map((name) => join(dirname(out), name, basename(out)));
}

function writeOutputs(
  rows: readonly AudioMeta[],
  found: Found,
  earlier: EarlierManifest,
  args: ManifestArguments,
  asOf: number,
): void {
  if (!args.split) {
    writeManifest(args.out, rows, asOf);
    return;
  }
  const identities = rows.map((row) => found.get(row.path)!.identity);
  const splits = splitFiles(identities, args.split, args.seed);
  for (const out of outputs(args)) {
    const name = basename(dirname(out));
    // What was trained on must not be evaluated on later: an update moves no file.
    const isHere = (row: AudioMeta, i: number) => {
      const before = earlier.file(row.path);
      return before ? before === out : splits[i] === name;
    };
    writeManifest(out, rows.filter(isHere), asOf);
  }
}
