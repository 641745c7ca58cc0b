/** TensorBoard's event files: records of serialized events, each with its length and two masked CRC32C checksums. */
import { appendFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { BinaryWriter } from "@bufbuild/protobuf/wire";

/**
 * Scalars of a run for TensorBoard. A run that goes on starts a new file with its whole history and removes the old ones, so
 * that no epoch appears twice.
 */
export class ScalarEvents {
  private readonly file: string;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(folder)) if (name.startsWith(prefix)) rmSync(join(folder, name));
    this.file = newFile(folder);
    writeFileSync(this.file, record(fileVersion()));
  }

  /** Adds values at a step (an epoch), tagged `<group>/<name>`. */
  add(group: string, values: Record<string, number>, step: number): void {
    const records = Object.entries(values).map(([name, value]) =>
      record(
        event((writer) => {
          writer.tag(2, 0).int64(step); // Event.step
          writer.tag(5, 2).fork(); // Event.summary, Summary.value
          writer.tag(1, 2).fork().tag(1, 2).string(`${group}/${name}`).tag(2, 5).float(value).join().join();
        }),
      ),
    );
    appendFileSync(this.file, Buffer.concat(records));
  }
}

/** Writes a graph for TensorBoard's graph page into `folder`; returns the file. `graphDef`: a serialized GraphDef. */
export function writeGraphEvents(folder: string, graphDef: Uint8Array): string {
  mkdirSync(folder, { recursive: true });
  const file = newFile(folder);
  const events = [fileVersion(), event((writer) => writer.tag(4, 2).bytes(graphDef))]; // Event.graph_def
  writeFileSync(file, Buffer.concat(events.map(record)));
  return file;
}

const prefix = "events.out.tfevents.";

function newFile(folder: string): string {
  return join(folder, `${prefix}${Math.floor(Date.now() / 1000)}.${hostname()}`);
}

/** The first event of every file. */
function fileVersion(): Uint8Array {
  return event((writer) => writer.tag(3, 2).string("brain.Event:2"));
}

/** A serialized tensorflow.Event (event.proto): wall_time = 1, then what `fill` writes. */
function event(fill: (writer: BinaryWriter) => unknown): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, 1).double(Date.now() / 1000);
  fill(writer);
  return writer.finish();
}

/** One TFRecord: length (uint64), checksum of the length, data, checksum of the data. */
function record(data: Uint8Array): Buffer {
  const out = Buffer.alloc(16 + data.length);
  out.writeBigUInt64LE(BigInt(data.length), 0);
  out.writeUInt32LE(maskedCrc(out.subarray(0, 8)), 8);
  out.set(data, 12);
  out.writeUInt32LE(maskedCrc(data), 12 + data.length);
  return out;
}

/** TensorFlow's mask: rotated by 15 bits, plus a constant. */
function maskedCrc(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

/** CRC-32C (Castagnoli), reflected. */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff];
  return (crc ^ 0xffffffff) >>> 0;
}
