/**
 * Shards: append-only stores of records, in two files.
 *
 *   <name>.data    the records' bytes, one after the other
 *   <name>.index   a line for each record: 16 hex digits of the SHA-256 of the rest of the line, a space, and JSON with the
 *                  record's key, its offset and size in the data, the same digits of its own SHA-256, and what the cache adds
 *
 * A record counts once its line is whole, and its bytes are on the disk before the line is written. So whatever kills a writer,
 * nothing that was appended is lost; a torn end is cut off by the next writer and not seen by readers.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  writeSync,
} from "node:fs";
import { writeError } from "../../checkpoint/atomic_file.ts";
import { UserError } from "../../errors.ts";

/** What the index tells of a record. */
export interface ShardEntry {
  key: string;
  offset: number;
  size: number;
  sum: string;
}

/** A record to append; `entry` goes into the index. */
export interface ShardRecord<Extra extends object> {
  key: string;
  bytes: Uint8Array;
  entry: Extra;
}

/** A record whose bytes are not those that were written. */
export class DamagedRecordError extends UserError {}

export class ShardReader<Extra extends object = object> {
  /** Path without suffix. */
  readonly path: string;
  /** In the order in which they were appended. */
  readonly entries: readonly (ShardEntry & Extra)[];
  private readonly descriptor: number;

  /** Reads the index; the data stays on the disk. @throws UserError when a file is missing, or the index is damaged before its end */
  constructor(path: string) {
    this.path = path;
    this.descriptor = open(`${path}.data`, "r");
    this.entries = readIndex<Extra>(path, fstatSync(this.descriptor).size).entries;
  }

  /** The bytes of a record in memory of their own, checked. @throws DamagedRecordError */
  read({ key, offset, size, sum }: ShardEntry): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(size);
    let done = 0;
    while (done < size) {
      const count = readSync(this.descriptor, bytes, done, size - done, offset + done);
      if (count === 0) break;
      done += count;
    }
    if (done < size || checksum(bytes) !== sum) {
      throw new DamagedRecordError(
        `${this.path}.data: the record ${key} (${size} bytes at ${offset}) is damaged: its checksum is another. ` +
          `Remove ${this.path}.data and ${this.path}.index and make them again`,
      );
    }
    return bytes;
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

export class ShardWriter<Extra extends object = object> {
  readonly path: string;
  /** Bytes of what an earlier writer left unfinished, which were cut off. */
  readonly cut: number;
  private readonly present: Set<string>;
  private readonly data: number;
  private readonly index: number;
  private end: number;
  private indexEnd: number;

  /** Opens or creates a shard to append to. One writer at a time. @throws UserError when the system refuses */
  constructor(path: string) {
    this.path = path;
    this.data = open(`${path}.data`, "a+");
    this.index = open(`${path}.index`, "a+");
    const dataSize = fstatSync(this.data).size;
    const { entries, bytes, size } = readIndex<Extra>(path, dataSize);
    this.end = entries.reduce((end, entry) => Math.max(end, entry.offset + entry.size), 0);
    this.indexEnd = bytes;
    this.cut = size - bytes + (dataSize - this.end);
    if (this.cut > 0) this.cutBack();
    this.present = new Set(entries.map(({ key }) => key));
  }

  /** Bytes of all records. */
  get size(): number {
    return this.end;
  }

  has(key: string): boolean {
    return this.present.has(key);
  }

  /**
   * Appends records, those whose key is there already left out; returns the entries of the new ones.
   * @throws UserError when the system refuses; nothing is appended then
   */
  append(records: readonly ShardRecord<Extra>[]): (ShardEntry & Extra)[] {
    const fresh = records.filter(({ key }) => !this.present.has(key));
    if (fresh.length === 0) return [];
    let offset = this.end;
    const entries = fresh.map(({ key, bytes, entry }) => {
      offset += bytes.length;
      return { key, offset: offset - bytes.length, size: bytes.length, sum: checksum(bytes), ...entry };
    });
    const lines = entries.map((entry) => {
      const line = JSON.stringify(entry);
      return `${checksum(Buffer.from(line))} ${line}\n`;
    });
    const index = Buffer.from(lines.join(""));
    try {
      writeAll(this.data, Buffer.concat(fresh.map(({ bytes }) => bytes)));
      fdatasyncSync(this.data);
      writeAll(this.index, index);
      fdatasyncSync(this.index);
    } catch (error) {
      this.cutBack();
      throw writeError(`${this.path}.data`, offset - this.end, error as NodeJS.ErrnoException);
    }
    this.end = offset;
    this.indexEnd += index.length;
    for (const { key } of fresh) this.present.add(key);
    return entries;
  }

  close(): void {
    closeSync(this.data);
    closeSync(this.index);
  }

  private cutBack(): void {
    ftruncateSync(this.index, this.indexEnd);
    ftruncateSync(this.data, this.end);
  }
}

/** 16 hex digits of the SHA-256. */
export function checksum(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex").slice(0, 16);
}

/** Whether there is a shard of this path. */
export function shardExists(path: string): boolean {
  return existsSync(`${path}.data`) && existsSync(`${path}.index`);
}

interface Index<Extra> {
  entries: (ShardEntry & Extra)[];
  /** Of the whole lines. */
  bytes: number;
  /** Of the file. */
  size: number;
}

/** The records that are whole: up to the first line that is torn, or whose bytes are not all there. */
function readIndex<Extra>(path: string, dataSize: number): Index<Extra> {
  const file = `${path}.index`;
  let content: Buffer;
  try {
    content = readFileSync(file);
  } catch (error) {
    throw new UserError(`${file}: cannot be read: ${(error as Error).message}`);
  }
  const entries: (ShardEntry & Extra)[] = [];
  let start = 0;
  let end = content.indexOf(10);
  for (; end >= 0; end = content.indexOf(10, start)) {
    const entry = parseLine<Extra>(content.subarray(start, end));
    if (entry === null || entry.offset + entry.size > dataSize) break;
    entries.push(entry);
    start = end + 1;
  }
  // a writer's death damages the end only
  for (let at = end; at >= 0; ) {
    const next = content.indexOf(10, at + 1);
    const later = next < 0 ? null : parseLine<Extra>(content.subarray(at + 1, next));
    if (later !== null && later.offset + later.size <= dataSize) {
      throw new UserError(
        `${file}: line ${entries.length + 1} is damaged, and there are whole ones after it. ` +
          `Restore the file from a copy, or remove it with ${path}.data and make them again`,
      );
    }
    at = next;
  }
  return { entries, bytes: start, size: content.length };
}

function parseLine<Extra>(line: Buffer): (ShardEntry & Extra) | null {
  const json = line.subarray(17);
  if (line.subarray(0, 16).toString("latin1") !== checksum(json)) return null;
  return JSON.parse(json.toString("utf8"));
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done, bytes.length - done);
}

function open(path: string, flags: string): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    if (flags !== "r") throw writeError(path, 0, error as NodeJS.ErrnoException);
    throw new UserError(`${path}: cannot be read: ${(error as Error).message}`);
  }
}
