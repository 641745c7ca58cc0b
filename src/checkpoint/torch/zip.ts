/** The directory of a zip archive, checked so thoroughly that reading an entry cannot go wrong. */
import { inflateRawSync } from "node:zlib";
import { crc32 } from "../../crc32.ts";
import { UserError } from "../../errors.ts";
import type { ByteFile } from "../byte_file.ts";

export interface ZipEntry {
  name: string;
  /** Compression method: 0 stored, 8 deflated. */
  method: number;
  crc: number;
  storedBytes: number;
  bytes: number;
  /** Where its local header begins, and its data. */
  headerStart: number;
  dataStart: number;
}

const END = 0x06054b50;
const END_SIZE = 22;
const END64 = 0x06064b50;
const END64_SIZE = 56;
const LOCATOR64 = 0x07064b50;
const LOCATOR64_SIZE = 20;
const CENTRAL = 0x02014b50;
const CENTRAL_SIZE = 46;
const LOCAL = 0x04034b50;
const LOCAL_SIZE = 30;
const ALL_ONES_16 = 0xffff;
const ALL_ONES_32 = 0xffffffff;
const ENCRYPTED = 1;
const SIZES_FOLLOW = 8;

const MAX_NAME_LENGTH = 500;
const MAX_DIRECTORY_BYTES = 64 << 20;

/**
 * The entries by name. Each lies within the file, before the directory, and apart from the others; its local header tells
 * the same as the directory.
 * @throws UserError with the reason
 */
export function readZipDirectory(file: ByteFile): Map<string, ZipEntry> {
  const { count, start, length } = findDirectory(file);
  if (length > MAX_DIRECTORY_BYTES) throw invalid(file, `its directory of ${length} bytes is absurdly large`);
  if (length < count * CENTRAL_SIZE) {
    throw invalid(file, `its directory of ${length} bytes cannot hold the announced ${count} entries`);
  }
  const directory = file.read(start, length);
  const entries = new Map<string, ZipEntry>();
  let position = 0;
  for (let i = 0; i < count; i++) {
    const { entry, next } = parseCentral(file, directory, position);
    if (entries.has(entry.name)) throw invalid(file, `it has two entries named "${entry.name}"`);
    entries.set(entry.name, entry);
    position = next;
  }
  if (position !== length)
    throw invalid(file, `${length - position} bytes of its directory belong to no entry`);
  for (const entry of entries.values()) locate(file, entry, start);
  checkApart(file, [...entries.values()]);
  return entries;
}

/**
 * The content of a small entry, inflated where needed, compared with its checksum.
 * @param limit more bytes than this are refused
 */
export function readZipEntry(file: ByteFile, entry: ZipEntry, limit: number): Buffer {
  if (entry.bytes > limit) {
    throw invalid(file, `entry "${entry.name}" has ${entry.bytes} bytes, ${limit} at most are accepted`);
  }
  const stored = file.read(entry.dataStart, entry.storedBytes);
  const content = entry.method === 0 ? stored : inflate(file, entry, stored);
  if (!crcAgrees(entry, content)) throw damaged(file, entry);
  return content;
}

/** Whether the content has the checksum of the directory. torch.save writes 0 where it is told not to compute them. */
export function crcAgrees(entry: ZipEntry, content: Uint8Array): boolean {
  return entry.crc === 0 || crc32(content) === entry.crc;
}

export function damaged(file: ByteFile, entry: ZipEntry): UserError {
  return new UserError(
    `${file.path}: damaged: the checksum of "${entry.name}" differs from what was written; copy or download it again`,
  );
}

function inflate(file: ByteFile, entry: ZipEntry, stored: Buffer): Buffer {
  try {
    const content = inflateRawSync(stored, { maxOutputLength: entry.bytes + 1 });
    if (content.length === entry.bytes) return content;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== "ERR_BUFFER_TOO_LARGE") {
      throw invalid(file, `entry "${entry.name}" cannot be inflated (${message})`);
    }
  }
  throw invalid(file, `entry "${entry.name}" does not inflate to the announced ${entry.bytes} bytes`);
}

function invalid(file: ByteFile, reason: string): UserError {
  return new UserError(`${file.path}: not a valid zip archive: ${reason}`);
}

/** Where the end-of-archive records say that the directory is. */
function findDirectory(file: ByteFile): { count: number; start: number; length: number } {
  const tail = file.read(
    Math.max(0, file.size - END_SIZE - ALL_ONES_16),
    Math.min(file.size, END_SIZE + ALL_ONES_16),
  );
  const tailStart = file.size - tail.length;
  let at = tail.length - END_SIZE;
  // the record is followed by a comment of the length that it says, up to the end of the file
  while (
    at >= 0 &&
    !(tail.readUInt32LE(at) === END && at + END_SIZE + tail.readUInt16LE(at + 20) === tail.length)
  )
    at--;
  if (at < 0)
    throw invalid(file, "it has no directory at its end: it is cut short; copy or download it again");
  let end = tailStart + at;
  const small = {
    disk: tail.readUInt16LE(at + 4),
    count: tail.readUInt16LE(at + 10),
    length: tail.readUInt32LE(at + 12),
    start: tail.readUInt32LE(at + 16),
  };
  let found = small;
  const locatorStart = end - LOCATOR64_SIZE;
  const locator = locatorStart >= 0 ? file.read(locatorStart, LOCATOR64_SIZE) : null;
  if (locator?.readUInt32LE(0) === LOCATOR64) {
    end = size64(file, locator, 8);
    if (end + END64_SIZE > locatorStart) throw invalid(file, "its zip64 record lies beyond its locator");
    const record = file.read(end, END64_SIZE);
    if (record.readUInt32LE(0) !== END64) throw invalid(file, "its zip64 record is not where it should be");
    found = {
      disk: record.readUInt32LE(16),
      count: size64(file, record, 32),
      length: size64(file, record, 40),
      start: size64(file, record, 48),
    };
  } else if (small.count === ALL_ONES_16 || small.start === ALL_ONES_32 || small.length === ALL_ONES_32) {
    throw invalid(file, "it needs a zip64 record and has none");
  }
  if (found.disk !== 0 && found.disk !== ALL_ONES_16) throw invalid(file, "it is one of several volumes");
  if (found.start + found.length !== end) {
    throw invalid(
      file,
      `its directory should end at byte ${found.start + found.length} and ends at ${end} (something was put before, ` +
        "into, or taken from the file)",
    );
  }
  return found;
}

function parseCentral(file: ByteFile, directory: Buffer, at: number): { entry: ZipEntry; next: number } {
  if (at + CENTRAL_SIZE > directory.length || directory.readUInt32LE(at) !== CENTRAL) {
    throw invalid(file, `its directory is damaged at byte ${at}`);
  }
  const nameEnd = at + CENTRAL_SIZE + directory.readUInt16LE(at + 28);
  const extraEnd = nameEnd + directory.readUInt16LE(at + 30);
  const next = extraEnd + directory.readUInt16LE(at + 32);
  if (next > directory.length) throw invalid(file, `its directory is damaged at byte ${at}`);
  const name = decodeName(file, directory.subarray(at + CENTRAL_SIZE, nameEnd));
  const refuse = (reason: string) => invalid(file, `entry "${name}" ${reason}`);
  const extra = zip64Extra(directory.subarray(nameEnd, extraEnd));
  let used = 0;
  const wide = (value: number): number => {
    if (value !== ALL_ONES_32) return value;
    if (extra === null || used + 8 > extra.length) throw refuse("lacks its zip64 sizes");
    used += 8;
    return size64(file, extra, used - 8);
  };
  // the order of the zip64 fields
  const bytes = wide(directory.readUInt32LE(at + 24));
  const storedBytes = wide(directory.readUInt32LE(at + 20));
  const headerStart = wide(directory.readUInt32LE(at + 42));
  const method = directory.readUInt16LE(at + 10);
  if (directory.readUInt16LE(at + 8) & ENCRYPTED) throw refuse("is encrypted");
  if (method !== 0 && method !== 8) throw refuse(`is compressed by an unknown method (${method})`);
  if (method === 0 && bytes !== storedBytes) {
    throw refuse(`is stored, but its sizes differ (${storedBytes} and ${bytes} bytes)`);
  }
  const crc = directory.readUInt32LE(at + 16);
  return { entry: { name, method, crc, storedBytes, bytes, headerStart, dataStart: -1 }, next };
}

/** Reads the local header: it tells where the data begins. */
function locate(file: ByteFile, entry: ZipEntry, directoryStart: number): void {
  const refuse = (reason: string) => invalid(file, `entry "${entry.name}" ${reason}`);
  const name = Buffer.from(entry.name);
  const start = entry.headerStart;
  if (start + LOCAL_SIZE + name.length > directoryStart) throw refuse("begins beyond the data of the file");
  const local = file.read(start, LOCAL_SIZE + name.length);
  if (local.readUInt32LE(0) !== LOCAL) throw refuse(`does not begin at byte ${start}, as the directory says`);
  if (local.readUInt16LE(26) !== name.length || !local.subarray(LOCAL_SIZE).equals(name)) {
    throw refuse("has another name in its own header than in the directory");
  }
  const flags = local.readUInt16LE(6);
  if (flags & ENCRYPTED || local.readUInt16LE(8) !== entry.method) {
    throw refuse("is stored in another way than the directory says");
  }
  const [stored, bytes] = [local.readUInt32LE(18), local.readUInt32LE(22)];
  const differs = (own: number, listed: number) => own !== listed && own !== ALL_ONES_32;
  if (!(flags & SIZES_FOLLOW) && (differs(stored, entry.storedBytes) || differs(bytes, entry.bytes))) {
    throw refuse("has other sizes in its own header than in the directory");
  }
  entry.dataStart = start + LOCAL_SIZE + name.length + local.readUInt16LE(28);
  if (entry.dataStart + entry.storedBytes > directoryStart) {
    throw refuse(`should have ${entry.storedBytes} bytes, which go beyond the data of the file`);
  }
}

function checkApart(file: ByteFile, entries: ZipEntry[]): void {
  entries.sort((a, b) => a.headerStart - b.headerStart);
  for (let i = 1; i < entries.length; i++) {
    const before = entries[i - 1];
    if (before.dataStart + before.storedBytes > entries[i].headerStart) {
      throw invalid(file, `entries "${before.name}" and "${entries[i].name}" overlap`);
    }
  }
}

function decodeName(file: ByteFile, bytes: Buffer): string {
  let name: string | null = null;
  try {
    name = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {}
  if (name === null || name.length > MAX_NAME_LENGTH || /\p{Cc}/u.test(name)) {
    throw invalid(file, "the name of an entry is absurd");
  }
  return name;
}

/** The zip64 part of an extra field, or null. */
function zip64Extra(extra: Buffer): Buffer | null {
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === 1) return extra.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
  return null;
}

function size64(file: ByteFile, bytes: Buffer, at: number): number {
  const value = bytes.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw invalid(file, `a size of ${value} bytes is impossible`);
  return Number(value);
}
