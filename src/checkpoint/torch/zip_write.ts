/** Writing zip archives as torch.save does: entries stored, each with its data at a multiple of 64 bytes. */

import { crc32 } from "../../crc32.ts";
import type { FileWriter } from "../atomic_file.ts";

export interface EntryPlan {
  name: string;
  bytes: number;
}

interface PlacedEntry extends EntryPlan {
  headerStart: number;
  dataStart: number;
  crc: number;
}

const ALIGNMENT = 64;
const LOCAL_SIZE = 30;
const VERSION = 20;
const VERSION64 = 45;
const UTF8 = 0x800;
/** 1980-01-01: archives of the same content are the same to the byte. */
const DATE = 0x21;
const LIMIT_16 = 0xffff;
const LIMIT_32 = 0xffffffff;

/** Lays out the entries, then takes their contents in the same order. */
export class ZipWriter {
  /** Bytes of the whole archive. */
  readonly size: number;
  private readonly entries: PlacedEntry[];
  private readonly directoryStart: number;
  private readonly zip64From: number;
  private file: FileWriter | null = null;
  private written = 0;

  /** @param zip64From sizes and offsets from this on are written in the zip64 form; another value serves tests */
  constructor(plans: readonly EntryPlan[], zip64From = LIMIT_32) {
    this.zip64From = zip64From;
    let position = 0;
    this.entries = plans.map(({ name, bytes }) => {
      const headerStart = position;
      const headerEnd =
        headerStart + LOCAL_SIZE + Buffer.byteLength(name) + this.localExtra64(bytes).length + 4;
      const dataStart = Math.ceil(headerEnd / ALIGNMENT) * ALIGNMENT;
      position = dataStart + bytes;
      return { name, bytes, headerStart, dataStart, crc: 0 };
    });
    this.directoryStart = position;
    this.size = position + this.tail().length;
  }

  begin(file: FileWriter): void {
    this.file = file;
  }

  /** The content of the next entry. */
  append(content: Uint8Array): void {
    const entry = this.entries[this.written++];
    if (content.length !== entry.bytes) {
      throw new RangeError(`"${entry.name}": ${entry.bytes} bytes expected, ${content.length} given`);
    }
    entry.crc = crc32(content);
    this.file!.append(this.localHeader(entry));
    this.file!.append(content);
  }

  end(): void {
    this.file!.append(this.tail());
  }

  private localHeader({ name, bytes, crc, headerStart, dataStart }: PlacedEntry): Buffer {
    const wide = this.localExtra64(bytes);
    const nameBytes = Buffer.from(name);
    const header = Buffer.alloc(dataStart - headerStart);
    const extraStart = LOCAL_SIZE + nameBytes.length;
    header.writeUInt32LE(0x04034b50, 0);
    this.writeCommon(header, 4, { bytes, crc, wide: wide.length > 0 });
    header.writeUInt16LE(nameBytes.length, 26);
    header.writeUInt16LE(header.length - extraStart, 28);
    nameBytes.copy(header, LOCAL_SIZE);
    wide.copy(header, extraStart);
    // what aligns the data is a field of its own, named as PyTorch names it
    const padding = extraStart + wide.length;
    header.write("FB", padding, "latin1");
    header.writeUInt16LE(header.length - padding - 4, padding + 2);
    return header;
  }

  /** From the version needed to the uncompressed size: the same in both headers. */
  private writeCommon(
    header: Buffer,
    at: number,
    { bytes, crc, wide }: { bytes: number; crc: number; wide: boolean },
  ): void {
    header.writeUInt16LE(wide ? VERSION64 : VERSION, at);
    header.writeUInt16LE(UTF8, at + 2);
    header.writeUInt16LE(DATE, at + 8);
    header.writeUInt32LE(crc, at + 10);
    const size = bytes >= this.zip64From ? LIMIT_32 : bytes;
    header.writeUInt32LE(size, at + 14);
    header.writeUInt32LE(size, at + 18);
  }

  private localExtra64(bytes: number): Buffer {
    return bytes >= this.zip64From ? extra64([bytes, bytes]) : Buffer.alloc(0);
  }

  private tail(): Buffer {
    const directory = Buffer.concat(this.entries.map((entry) => this.centralHeader(entry)));
    const end = Buffer.alloc(22);
    const needs64 =
      this.entries.length >= LIMIT_16 ||
      directory.length >= this.zip64From ||
      this.directoryStart >= this.zip64From;
    const count = needs64 ? LIMIT_16 : this.entries.length;
    end.writeUInt32LE(0x06054b50, 0);
    end.writeUInt16LE(count, 8);
    end.writeUInt16LE(count, 10);
    end.writeUInt32LE(needs64 ? LIMIT_32 : directory.length, 12);
    end.writeUInt32LE(needs64 ? LIMIT_32 : this.directoryStart, 16);
    return Buffer.concat(needs64 ? [directory, this.end64(directory.length), end] : [directory, end]);
  }

  private centralHeader({ name, bytes, crc, headerStart }: PlacedEntry): Buffer {
    const nameBytes = Buffer.from(name);
    const farAway = headerStart >= this.zip64From;
    const fields = [...(bytes >= this.zip64From ? [bytes, bytes] : []), ...(farAway ? [headerStart] : [])];
    const extra = fields.length > 0 ? extra64(fields) : Buffer.alloc(0);
    const header = Buffer.alloc(46);
    header.writeUInt32LE(0x02014b50, 0);
    header.writeUInt16LE(fields.length > 0 ? VERSION64 : VERSION, 4);
    this.writeCommon(header, 6, { bytes, crc, wide: fields.length > 0 });
    header.writeUInt16LE(nameBytes.length, 28);
    header.writeUInt16LE(extra.length, 30);
    header.writeUInt32LE(farAway ? LIMIT_32 : headerStart, 42);
    return Buffer.concat([header, nameBytes, extra]);
  }

  /** The zip64 record of the end and its locator. */
  private end64(directoryLength: number): Buffer {
    const record = Buffer.alloc(56 + 20);
    record.writeUInt32LE(0x06064b50, 0);
    record.writeBigUInt64LE(44n, 4);
    record.writeUInt16LE(VERSION64, 12);
    record.writeUInt16LE(VERSION64, 14);
    record.writeBigUInt64LE(BigInt(this.entries.length), 24);
    record.writeBigUInt64LE(BigInt(this.entries.length), 32);
    record.writeBigUInt64LE(BigInt(directoryLength), 40);
    record.writeBigUInt64LE(BigInt(this.directoryStart), 48);
    record.writeUInt32LE(0x07064b50, 56);
    record.writeBigUInt64LE(BigInt(this.directoryStart + directoryLength), 64);
    record.writeUInt32LE(1, 72);
    return record;
  }
}

function extra64(values: number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * values.length);
  extra.writeUInt16LE(1, 0);
  extra.writeUInt16LE(8 * values.length, 2);
  for (const [i, value] of values.entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i);
  return extra;
}
