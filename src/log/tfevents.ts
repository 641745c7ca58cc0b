/** TensorBoard's event files: records of serialized events, each with its length and two masked CRC32C checksums. */
import { mkdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { BinaryWriter } from "@bufbuild/protobuf/wire";

/** Writes a graph for TensorBoard's graph page into `folder`; returns the file. `graphDef`: a serialized GraphDef. */
export function writeGraphEvents(folder: string, graphDef: Uint8Array): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `events.out.tfevents.${Math.floor(Date.now() / 1000)}.${hostname()}`);
  const events = [
    event((writer) => writer.tag(3, 2).string("brain.Event:2")), // Event.file_version
    event((writer) => writer.tag(4, 2).bytes(graphDef)), // Event.graph_def
  ];
  writeFileSync(file, Buffer.concat(events.map(record)));
  return file;
}

/** A serialized tensorflow.Event (event.proto): wall_time = 1, then what `fill` writes. */
function event(fill: (writer: BinaryWriter) => void): Uint8Array {
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
