/** Codes of whole audio files in a cache folder: one record for every ten minutes or so of each file. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Sidecar } from "../sidecar.ts";
import { type ShardEntry, ShardReader, shardExists } from "./shard.ts";
import { type Codes, cutCodes, decodeTokens, type TokenEntry } from "./tokens.ts";

/** In the index, for each part of a file. */
export interface PartEntry extends TokenEntry {
  /** The audio file. */
  path: string;
  part: number;
  parts: number;
  /** The part's first frame in the file. */
  start: number;
  /** Samples of the file per channel, at the codec's rate; behind them silence was coded. */
  samples: number;
  /** Seconds of the file as it says itself. */
  duration: number;
}

export interface FileInfo {
  path: string;
  /** What lay beside the file, or null. */
  sidecar: Sidecar | null;
}

interface Part {
  shard: ShardReader<PartEntry>;
  entry: ShardEntry & PartEntry;
}

/** A file whose parts are all there. */
export interface CodedFile {
  samples: number;
  duration: number;
  frames: number;
  parts: Part[];
}

export function partKey(path: string, part: number): string {
  return `${path}#${part}`;
}

/** The shards of all jobs that wrote to a cache, as paths without suffix, in order. */
export function shardsOf(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((item) => item.isDirectory() && item.name.startsWith("job-"))
    .flatMap(({ name: job }) => readdirSync(join(folder, job)).map((name) => join(folder, job, name)))
    .filter((path) => path.endsWith(".index"))
    .map((path) => path.slice(0, -".index".length))
    .filter(shardExists)
    .sort();
}

export class FileCodes {
  /** By the path of the audio file. */
  readonly files: ReadonlyMap<string, CodedFile>;
  private readonly shards: ShardReader<PartEntry>[];

  /** Reads the indices of the folder's shards. @throws UserError for a damaged one */
  constructor(folder: string) {
    this.shards = shardsOf(folder).map((path) => new ShardReader<PartEntry>(path));
    const parts = new Map<string, Part[]>();
    for (const shard of this.shards) {
      for (const entry of shard.entries) {
        const found = parts.get(entry.path) ?? [];
        // jobs that shared the files out differently may both have coded one
        if (!found.some((other) => other.entry.part === entry.part)) found.push({ shard, entry });
        parts.set(entry.path, found);
      }
    }
    const files = new Map<string, CodedFile>();
    for (const [path, found] of parts) {
      const { parts: count, samples, duration } = found[0].entry;
      if (found.length < count) continue;
      found.sort((a, b) => a.entry.part - b.entry.part);
      const last = found[count - 1].entry;
      files.set(path, { samples, duration, frames: last.start + last.shape[1], parts: found });
    }
    this.files = files;
  }

  /** Frames [start, start + frames) of a file, which must be there. Reads only the parts that they lie in. @throws DamagedRecordError */
  read({ parts }: CodedFile, start: number, frames: number): { codes: Codes; info: FileInfo } {
    const within = parts.filter(
      ({ entry }) => entry.start < start + frames && entry.start + entry.shape[1] > start,
    );
    const pieces = within.map(({ shard, entry }) => {
      const record = decodeTokens<FileInfo>(shard.read(entry), entry);
      const from = Math.max(start, entry.start);
      const to = Math.min(start + frames, entry.start + entry.shape[1]);
      return { ...record, codes: cutCodes(record.codes, from - entry.start, to - from) };
    });
    const codes = pieces.length === 1 ? pieces[0].codes : joinCodes(pieces.map((piece) => piece.codes));
    return { codes, info: pieces[0].info };
  }

  close(): void {
    for (const shard of this.shards) shard.close();
  }
}

/** One after the other in time. */
function joinCodes(pieces: Codes[]): Codes {
  const codebooks = pieces[0].codebooks;
  const frames = pieces.reduce((sum, piece) => sum + piece.frames, 0);
  const values = new Int16Array(codebooks * frames);
  let at = 0;
  for (const piece of pieces) {
    for (let k = 0; k < codebooks; k++) {
      values.set(piece.values.subarray(k * piece.frames, (k + 1) * piece.frames), k * frames + at);
    }
    at += piece.frames;
  }
  return { values, codebooks, frames };
}
