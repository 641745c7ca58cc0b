/** TensorBoard's event files: records of serialized events, each with its length and two masked CRC32C checksums. */
import { appendFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { BinaryWriter } from "@bufbuild/protobuf/wire";

/**
 * What a run tells TensorBoard. A run that goes on starts a new file with its whole history and removes the old ones, so that
 * no epoch appears twice. Steps are epochs.
 */
export class TensorBoardEvents {
  private readonly file: string;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(folder)) if (name.startsWith(prefix)) rmSync(join(folder, name));
    this.file = newFile(folder);
    writeFileSync(this.file, record(fileVersion()));
  }

  /** Values tagged `<group>/<name>`. */
  scalars(group: string, values: Record<string, number>, step: number): void {
    for (const [name, value] of Object.entries(values)) {
      this.value(`${group}/${name}`, step, (writer) => writer.tag(2, 5).float(value));
    }
  }

  /** A WAV file. */
  audio(
    tag: string,
    wav: Uint8Array,
    { sampleRate, channels, frames }: { sampleRate: number; channels: number; frames: number },
    step: number,
  ): void {
    this.value(tag, step, (writer) => {
      writer.tag(6, 2).fork(); // Summary.Audio
      writer.tag(1, 5).float(sampleRate).tag(2, 0).int64(channels).tag(3, 0).int64(frames);
      writer.tag(4, 2).bytes(wav).tag(5, 2).string("audio/wav").join();
    });
  }

  /** A PNG file in colour. */
  image(tag: string, png: Uint8Array, step: number): void {
    const { width, height } = pngSize(png);
    this.value(tag, step, (writer) => {
      writer.tag(4, 2).fork(); // Summary.Image
      writer.tag(1, 0).int32(height).tag(2, 0).int32(width).tag(3, 0).int32(3).tag(4, 2).bytes(png).join();
    });
  }

  /** A text, shown as Markdown. */
  text(tag: string, text: string, step: number): void {
    this.value(tag, step, (writer) => {
      writer.tag(9, 2).fork().tag(1, 2).fork().tag(1, 2).string("text").join().join(); // metadata: the plugin
      writer.tag(8, 2).fork().tag(1, 0).int32(7).tag(2, 2).fork().join(); // TensorProto: DT_STRING, a scalar
      writer.tag(8, 2).bytes(new TextEncoder().encode(text)).join();
    });
  }

  /** The run's settings, for the page of hyper-parameters. */
  hyperParameters(values: Record<string, string | number | boolean | null>): void {
    const content = new BinaryWriter(); // HParamsPluginData with a SessionStartInfo
    content.tag(1, 0).int32(0).tag(3, 2).fork();
    for (const [name, value] of Object.entries(values)) {
      content.tag(1, 2).fork().tag(1, 2).string(name).tag(2, 2).fork();
      if (typeof value === "number") content.tag(2, 1).double(value);
      else if (typeof value === "boolean") content.tag(4, 0).bool(value);
      else content.tag(3, 2).string(value ?? "null");
      content.join().join();
    }
    content
      .tag(5, 1)
      .double(Date.now() / 1000)
      .join();
    this.value("_hparams_/session_start_info", 0, (writer) => {
      writer.tag(9, 2).fork().tag(1, 2).fork().tag(1, 2).string("hparams");
      writer.tag(2, 2).bytes(content.finish()).join().join();
      writer.tag(8, 2).fork().tag(1, 0).int32(1).tag(2, 2).fork().join().tag(5, 5).float(0).join();
    });
  }

  /** One event with one Summary.Value; `fill` writes what follows its tag. */
  private value(tag: string, step: number, fill: (writer: BinaryWriter) => unknown): void {
    const data = event((writer) => {
      writer.tag(2, 0).int64(step); // Event.step
      writer.tag(5, 2).fork().tag(1, 2).fork().tag(1, 2).string(tag); // Event.summary, Summary.value
      fill(writer);
      writer.join().join();
    });
    appendFileSync(this.file, record(data));
  }
}

/** Width and height out of a PNG's first chunk. */
function pngSize(png: Uint8Array): { width: number; height: number } {
  const view = new DataView(png.buffer, png.byteOffset);
  return { width: view.getUint32(16), height: view.getUint32(20) };
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
