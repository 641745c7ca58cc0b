/** The audio files that the sources of a manifest name, with what is said about them. */
import { statSync } from "node:fs";
import { dirname, extname, join, relative, resolve } from "node:path";
import { listAudio, type Unreadable } from "../data/scan.ts";
import { UserError } from "../errors.ts";
import { type RowFacts, readRow } from "./columns.ts";
import { type Row, readCsv } from "./csv.ts";
import { extractTo, placeBelow } from "./extract.ts";
import { AudioLocator } from "./locate.ts";
import { readParquet } from "./parquet.ts";
import { readShard, shardName } from "./webdataset.ts";

const SHARD = /\.(tar|tar\.gz|tgz)$/i;

export interface FoundAudio {
  path: string;
  /** A name that stays when the data set is moved: its path below its source. */
  identity: string;
  weight: number | null;
  /** Fields of a sidecar to be made. */
  description: RowFacts["description"];
  /** Seconds that the description is about, when the file may be longer. */
  expected: number | null;
}

export interface SourceOptions {
  /** Where the audio of tables lies; default: the table's folder. */
  audio: string | undefined;
  /** Where extracted audio goes. */
  extract: string;
  onUnreadable: Unreadable;
  /** Rows of a table for which there is no audio. */
  onMissing: (table: string, missing: string[], total: number) => void;
  onProgress: (what: string, count: number) => void;
}

/** Yields each audio file once, however many sources name it. Throws UserError. */
export async function* findAudio(sources: string[], options: SourceOptions): AsyncGenerator<FoundAudio> {
  requireDistinctShards(sources);
  const seen = new Set<string>();
  for (const source of sources) {
    let count = 0;
    for await (const found of readSource(source, options)) {
      const path = resolve(found.path);
      if (seen.has(path)) continue;
      seen.add(path);
      options.onProgress(source, ++count);
      yield found;
    }
  }
}

/** Shards of the same name would be extracted into the same folder. */
function requireDistinctShards(sources: string[]): void {
  const shards = new Map<string, string>();
  for (const source of sources.filter((source) => SHARD.test(source))) {
    const other = shards.get(shardName(source));
    if (other && resolve(other) !== resolve(source))
      throw new UserError(
        `${other} and ${source} have the same name: make a manifest of each, with another --extract folder`,
      );
    shards.set(shardName(source), source);
  }
}

function readSource(
  source: string,
  options: SourceOptions,
): AsyncIterable<FoundAudio> | Iterable<FoundAudio> {
  const stat = statSync(source, { throwIfNoEntry: false });
  if (!stat) throw new UserError(`${source} does not exist`);
  if (stat.isDirectory()) return fromFolder(source, options);
  if (/\.(csv|tsv)$/i.test(source)) return fromTable(source, [readCsv(source)], options);
  if (/\.parquet$/i.test(source)) return fromTable(source, readParquet(source), options);
  if (SHARD.test(source)) return fromShard(source, options);
  throw new UserError(`${source} is neither a folder nor a .csv, .tsv, .parquet, .tar, .tar.gz or .tgz file`);
}

function* fromFolder(folder: string, { onUnreadable }: SourceOptions): Generator<FoundAudio> {
  for (const path of listAudio(folder, onUnreadable))
    yield { path, identity: relative(folder, path), weight: null, description: undefined, expected: null };
}

async function* fromTable(
  table: string,
  parts: Iterable<Row[]> | AsyncIterable<Row[]>,
  options: SourceOptions,
): AsyncGenerator<FoundAudio> {
  const folder = options.audio ?? dirname(table);
  const locator = new AudioLocator(folder);
  const missing: string[] = [];
  let total = 0;
  for await (const rows of parts)
    for (const row of rows) {
      const facts = readRow(row);
      const { path, id, start, end, weight, description } = facts;
      if (total++ === 0 && path === null && id === null && !facts.bytes) throw noAudioColumn(table, row);
      const audio = facts.bytes
        ? await extractRow(table, total, facts, facts.bytes, options.extract)
        : locator.find(facts);
      if (audio === undefined) {
        missing.push(path ?? id ?? `row ${total}`);
        continue;
      }
      const expected = start !== null && end !== null ? end - start : null;
      const root = facts.bytes ? options.extract : folder;
      yield { path: audio, identity: relative(root, audio), weight, description, expected };
    }
  if (missing.length > 0) options.onMissing(table, missing, total);
}

function noAudioColumn(table: string, row: Row): UserError {
  const columns = Object.keys(row).join(", ");
  return new UserError(
    `${table}: no column names an audio file (path, file_name, audio, ytid, …); there are: ${columns}`,
  );
}

async function extractRow(
  table: string,
  number: number,
  { path }: RowFacts,
  bytes: Uint8Array,
  folder: string,
): Promise<string> {
  const name = table
    .slice(dirname(table).length)
    .replace(/^\//, "")
    .replace(/\.parquet$/i, "");
  const file = path ?? `${String(number).padStart(6, "0")}${suffixOf(bytes)}`;
  const place = placeBelow(join(folder, name), file.replace(/^\/+/, ""), table);
  const target = extname(place) === "" ? `${place}${suffixOf(bytes)}` : place;
  await extractTo(target, bytes, bytes.length);
  return target;
}

/** A suffix for audio without a name; reading goes by the content. */
function suffixOf(bytes: Uint8Array): string {
  const magic = Buffer.from(bytes.subarray(0, 4)).toString("latin1");
  return { RIFF: ".wav", fLaC: ".flac", OggS: ".ogg" }[magic] ?? ".mp3";
}

async function* fromShard(
  shard: string,
  { extract, onUnreadable }: SourceOptions,
): AsyncGenerator<FoundAudio> {
  try {
    for await (const { audio, identity, row } of readShard(shard, extract)) {
      const { weight, description } = readRow(row);
      yield { path: audio, identity, weight, description, expected: null };
    }
  } catch (error) {
    if (error instanceof UserError) throw error;
    onUnreadable(shard, `the shard is damaged: ${(error as Error).message}; what came before is used`);
  }
}
