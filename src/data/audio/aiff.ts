/** AIFF and AIFF-C files (Apple, 1989 and 1991): big-endian chunks, uncompressed samples. */
import { type AudioFile, type AudioInfo, AudioReadError, describeAudio } from "./audio.ts";
import { chunks } from "./chunks.ts";
import type { FileBytes } from "./file_bytes.ts";
import { type Encoding, readPcm, sampleBytes } from "./pcm.ts";
import type { Scratch } from "./scratch.ts";

export class AiffFile implements AudioFile {
  readonly info: AudioInfo;
  private readonly file: FileBytes;
  private readonly encoding: Encoding;
  private readonly dataOffset: number;

  /** Throws AudioReadError for compressed samples, and for headers that promise more than the file holds. */
  constructor(file: FileBytes) {
    this.file = file;
    let common: Common | undefined;
    let sound: { offset: number; size: number } | undefined;
    for (const { id, body, size } of chunks(file, 12, "big")) {
      if (id === "COMM") common = readCommon(file, body, size);
      if (id === "SSND") {
        const header = file.read(body, 8);
        if (header.length < 8) throw new AudioReadError(file.path, "its sound chunk is cut off");
        const skip = 8 + view(header).getUint32(0);
        sound = { offset: body + skip, size: Math.min(size, file.size - body) - skip };
      }
      if (common && sound) break;
    }
    if (!common) throw new AudioReadError(file.path, "its header is cut off: it has no common chunk");
    if (!sound) throw new AudioReadError(file.path, "it has no sound chunk");
    const { channels, frames, sampleRate, encoding } = common;
    this.info = describeAudio(file.path, sampleRate, channels, frames);
    const claimed = frames * channels * sampleBytes(encoding);
    if (claimed > sound.size)
      throw new AudioReadError(
        file.path,
        `it is truncated: its header promises ${claimed} bytes, ${Math.max(0, sound.size)} are there`,
      );
    this.encoding = encoding;
    this.dataOffset = sound.offset;
  }

  async read(start: number, frames: number, scratch?: Scratch): Promise<Float32Array[]> {
    const { channels } = this.info;
    const offset = this.dataOffset + start * channels * sampleBytes(this.encoding);
    return readPcm(this.file, offset, this.encoding, channels, frames, scratch);
  }

  close(): void {
    this.file.close();
  }
}

interface Common {
  channels: number;
  frames: number;
  sampleRate: number;
  encoding: Encoding;
}

/** Encodings of AIFF-C by compression type, then by bytes of a sample; plain AIFF is "NONE". */
const BIG: Record<number, Encoding> = { 1: "s8", 2: "s16be", 3: "s24be", 4: "s32be" };
const TYPES: Record<string, Record<number, Encoding>> = {
  NONE: BIG,
  twos: BIG,
  in24: { 3: "s24be" },
  in32: { 4: "s32be" },
  "42n1": { 3: "s24le" },
  "23ni": { 4: "s32le" },
  sowt: { 1: "s8", 2: "s16le", 3: "s24le", 4: "s32le" },
  "raw ": { 1: "u8" },
  fl32: { 4: "f32be" },
  fl64: { 8: "f64be" },
};
/** The sample size that these state counts the samples before compression. */
const COMPANDED: Record<string, Encoding> = { alaw: "alaw", ulaw: "mulaw" };

function readCommon(file: FileBytes, offset: number, size: number): Common {
  const bytes = file.read(offset, Math.min(size, 22));
  if (bytes.length < 18) throw new AudioReadError(file.path, "its common chunk is cut off");
  const fields = view(bytes);
  const bits = fields.getInt16(6);
  let type = "NONE";
  if (bytes.length === 22) type = String.fromCharCode(...bytes.subarray(18, 22));
  const known = /^(fl32|fl64|alaw|ulaw)$/i.test(type) ? type.toLowerCase() : type;
  const encoding = COMPANDED[known] ?? TYPES[known]?.[Math.ceil(bits / 8)];
  if (!encoding)
    throw new AudioReadError(
      file.path,
      known in TYPES
        ? `its header claims ${type} samples of ${bits} bits`
        : `AIFF files with compression "${type.replace(/[^ -~]/g, "?")}" are not supported; convert it to PCM`,
    );
  return {
    channels: fields.getInt16(0),
    frames: fields.getUint32(2),
    sampleRate: extended(fields, 8),
    encoding,
  };
}

/** An 80-bit IEEE number: sign and exponent, then the mantissa with its leading 1. */
function extended(fields: DataView, at: number): number {
  const exponent = fields.getUint16(at) - 16383 - 63;
  return (fields.getUint32(at + 2) * 2 ** 32 + fields.getUint32(at + 6)) * 2 ** exponent;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
