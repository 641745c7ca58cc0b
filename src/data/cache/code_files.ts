/** Turns the audio files of a manifest into codes, once, in whole; goes on where an earlier job stopped. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { writeError } from "../../checkpoint/atomic_file.ts";
import { FolderLock } from "../../xp/lock.ts";
import { AudioReadError } from "../audio/audio.ts";
import type { AudioMeta } from "../manifest.ts";
import { readSidecar, type Sidecar, sidecarPath } from "../sidecar.ts";
import type { AudioPart, CodecForm } from "./audio_parts.ts";
import { FileCodes, type PartEntry, partKey } from "./file_codes.ts";
import { PartReader } from "./part_reader.ts";
import { type ShardRecord, ShardWriter } from "./shard.ts";
import { cutCodes, encodeTokens, toCodes } from "./tokens.ts";

/** Bytes after which the next shard begins. */
const SHARD_BYTES = 1 << 30;

export interface CodingOptions {
  form: CodecForm;
  /** wav [C, T] planar -> codes int32 [K, frames] planar */
  encode: (wav: Float32Array<ArrayBuffer>) => Int32Array;
  codebooks: number;
  /** This job among those that share the files out; each writes to its own folder. */
  job: number;
  jobs: number;
  /** Threads that decode ahead of the codec; 0: this one decodes. */
  workers?: number;
  /** Done and all files of this job, and the seconds of audio coded by now. */
  onProgress?: (done: number, total: number, seconds: number) => void;
  /** A file that cannot be read. */
  onUnreadable?: (path: string, reason: string) => void;
  /** What an earlier job left unfinished and was cut off, in bytes. */
  onCut?: (bytes: number) => void;
}

export interface CodingResult {
  coded: number;
  /** Were there already. */
  present: number;
  unreadable: number;
  /** Of the audio that was coded. */
  seconds: number;
}

/** Codes each file that the cache lacks. @throws UserError when the system refuses, or another process is this job */
export async function codeFiles(
  folder: string,
  rows: readonly AudioMeta[],
  options: CodingOptions,
): Promise<CodingResult> {
  const { job, jobs, onProgress } = options;
  const own = join(folder, `job-${job}`);
  try {
    mkdirSync(own, { recursive: true });
  } catch (error) {
    throw writeError(own, 0, error as NodeJS.ErrnoException);
  }
  const lock = FolderLock.take(own, `cache.write_shard=${job} of ${folder}`);
  const shards = new Shards(own, options.onCut);
  const reader = new PartReader(options.form, options.workers ?? 0);
  try {
    const before = new FileCodes(folder);
    const mine = rows.filter((_, index) => index % jobs === job);
    const missing = mine.filter(({ path }) => !before.files.has(path));
    before.close();
    const result = { coded: 0, present: mine.length - missing.length, unreadable: 0, seconds: 0 };
    const ahead: Promise<AudioPart>[] = [];
    for (const [i, meta] of missing.entries()) {
      for (let next = i + ahead.length; next < missing.length && next <= i + (options.workers ?? 0); next++)
        ahead.push(reader.read(missing[next], 0));
      try {
        result.seconds += await codeFile(meta, ahead.shift()!, { ...options, reader, shards });
        result.coded++;
      } catch (error) {
        if (!(error instanceof AudioReadError)) throw error;
        options.onUnreadable?.(error.path, error.reason);
        result.unreadable++;
      }
      onProgress?.(result.coded + result.unreadable, missing.length, result.seconds);
    }
    return result;
  } finally {
    await reader.close();
    shards.close();
    lock.release();
  }
}

/** Codes the parts of a file, of which the first is being read already. Returns the seconds of audio. */
async function codeFile(
  meta: AudioMeta,
  first: Promise<AudioPart>,
  { reader, shards, ...options }: CodingOptions & { reader: PartReader; shards: Shards },
): Promise<number> {
  let part = await first;
  const { parts, duration } = part;
  const sidecar = sidecarOf(meta.path, options);
  for (let number = 0; number < parts; number++) {
    if (shards.has(partKey(meta.path, number))) continue;
    if (number > 0) part = await reader.read(meta, number);
    shards.append(codePart(meta.path, part, sidecar, options));
  }
  return duration;
}

function codePart(
  path: string,
  audio: AudioPart,
  sidecar: Sidecar | null,
  { encode, codebooks }: CodingOptions,
): ShardRecord<PartEntry> {
  const { wav, part, parts, start, skip, frames, samples, duration } = audio;
  const codes = toCodes(encode(wav), codebooks);
  if (codes.frames < skip + frames)
    throw new Error(`the codec gave ${codes.frames} frames for ${path}, and ${skip + frames} were expected`);
  const { bytes, entry } = encodeTokens(cutCodes(codes, skip, frames), { path, sidecar });
  return {
    key: partKey(path, part),
    bytes,
    entry: { ...entry, path, part, parts, start, samples, duration },
  };
}

/** A broken sidecar is named, and the audio coded without. */
function sidecarOf(path: string, { onUnreadable }: CodingOptions): Sidecar | null {
  const file = sidecarPath(path);
  try {
    return readSidecar(file) ?? null;
  } catch (error) {
    onUnreadable?.(file, `${(error as Error).message}; its audio is coded without text`);
    return null;
  }
}

/** The shards of one job: files of about SHARD_BYTES, the last of them open. */
class Shards {
  private readonly folder: string;
  private readonly onCut: CodingOptions["onCut"];
  private number = 0;
  private writer: ShardWriter<PartEntry>;
  /** Of the shards that are full. */
  private readonly full: ShardWriter<PartEntry>[] = [];

  constructor(folder: string, onCut: CodingOptions["onCut"]) {
    this.folder = folder;
    this.onCut = onCut;
    this.writer = this.open();
    this.skipFull();
  }

  has(key: string): boolean {
    return [this.writer, ...this.full].some((shard) => shard.has(key));
  }

  append(record: ShardRecord<PartEntry>): void {
    this.writer.append([record]);
    this.skipFull();
  }

  close(): void {
    for (const shard of [this.writer, ...this.full]) shard.close();
  }

  private skipFull(): void {
    while (this.writer.size >= SHARD_BYTES) {
      this.full.push(this.writer);
      this.number++;
      this.writer = this.open();
    }
  }

  private open(): ShardWriter<PartEntry> {
    const writer = new ShardWriter<PartEntry>(
      join(this.folder, `files-${String(this.number).padStart(5, "0")}`),
    );
    if (writer.cut > 0) this.onCut?.(writer.cut);
    return writer;
  }
}
