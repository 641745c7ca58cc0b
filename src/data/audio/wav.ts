/** WAV, RF64 and BW64 files: the header is parsed once, a segment is one read of its byte range. */
import { type AudioFile, type AudioInfo, AudioReadError, describeAudio } from "./audio.ts";
import { chunks } from "./chunks.ts";
import type { FileBytes } from "./file_bytes.ts";
import { type Encoding, readPcm } from "./pcm.ts";
import type { Scratch } from "./scratch.ts";

export class WavFile implements AudioFile {
  readonly info: AudioInfo;
  readonly encoding: Encoding;
  private file: FileBytes;
  private dataOffset: number;
  private blockAlign: number;

  /** Throws AudioReadError for other encodings than PCM, float and G.711, and for headers that promise more than the file holds. */
  constructor(file: FileBytes) {
    this.file = file;
    const { format, data } = readChunks(file);
    const { tag, channels, sampleRate, blockAlign } = format;
    if (channels === 0) throw new AudioReadError(file.path, "its header claims 0 channels");
    this.encoding = sampleEncoding(file.path, tag, (8 * blockAlign) / channels);
    this.blockAlign = blockAlign;
    this.dataOffset = data.offset;
    this.info = describeAudio(file.path, sampleRate, channels, Math.floor(data.size / blockAlign));
  }

  async read(start: number, frames: number, scratch?: Scratch): Promise<Float32Array[]> {
    const offset = this.dataOffset + start * this.blockAlign;
    return readPcm(this.file, offset, this.encoding, this.info.channels, frames, scratch);
  }

  close(): void {
    this.file.close();
  }
}

interface Format {
  tag: number;
  channels: number;
  sampleRate: number;
  blockAlign: number;
}

const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;
/** Encodings by registered wFormatTag and bits of a sample's container. */
const ENCODINGS: Record<number, Record<number, Encoding>> = {
  [PCM]: { 8: "u8", 16: "s16le", 24: "s24le", 32: "s32le" },
  [FLOAT]: { 32: "f32le", 64: "f64le" },
  6: { 8: "alaw" },
  7: { 8: "mulaw" },
};
/** Names of other encodings (and of those above that are not plain numbers). */
const OTHER_ENCODINGS: Record<number, string> = {
  2: "Microsoft ADPCM",
  6: "A-law",
  7: "mu-law",
  17: "IMA ADPCM",
  49: "GSM 6.10",
  80: "MPEG",
  85: "MP3",
};

function readChunks(file: FileBytes): { format: Format; data: { offset: number; size: number } } {
  let format: Format | undefined;
  let size64: number | undefined;
  for (const { id, body, size } of chunks(file, 12, "little")) {
    if (id === "ds64") {
      const sizes = file.read(body, 16);
      if (sizes.length === 16) size64 = Number(view(sizes).getBigUint64(8, true));
    } else if (id === "fmt ") {
      format = readFormat(file, body, size);
    } else if (id === "data") {
      if (!format) throw new AudioReadError(file.path, "its data chunk comes before its format chunk");
      return { format, data: { offset: body, size: dataSize(file, body, size, size64, format.blockAlign) } };
    }
  }
  throw new AudioReadError(file.path, format ? "it has no data chunk" : "its header is cut off");
}

function readFormat(file: FileBytes, offset: number, size: number): Format {
  const bytes = file.read(offset, Math.min(size, 40));
  if (bytes.length < 16) throw new AudioReadError(file.path, "its format chunk is cut off");
  const fields = view(bytes);
  let tag = fields.getUint16(0, true);
  // An extensible header keeps the true tag in the first two bytes of its subformat GUID.
  if (tag === EXTENSIBLE && bytes.length >= 26) tag = fields.getUint16(24, true);
  return {
    tag,
    channels: fields.getUint16(2, true),
    sampleRate: fields.getUint32(4, true),
    blockAlign: fields.getUint16(12, true),
  };
}

/**
 * Size of the sample data in bytes. Writers that cannot seek, and those that did not come to their end, leave a placeholder:
 * then it is all that follows.
 */
function dataSize(
  file: FileBytes,
  offset: number,
  size: number,
  size64: number | undefined,
  blockAlign: number,
) {
  const present = file.size - offset;
  const riffSize = view(file.read(4, 4)).getUint32(0, true);
  if (size === 0 && riffSize + 8 <= offset) return present;
  const claimed = size === 0xffffffff && size64 !== undefined ? size64 : size;
  if (claimed >= 0x7ffff000 && size64 === undefined && claimed > present) return present;
  if (claimed > present + blockAlign)
    throw new AudioReadError(
      file.path,
      `it is truncated: its header promises ${claimed} bytes, ${present} are there`,
    );
  return Math.min(claimed, present);
}

function sampleEncoding(path: string, tag: number, bits: number): Encoding {
  const name = ENCODINGS[tag];
  if (name === undefined) {
    const what = OTHER_ENCODINGS[tag] ?? `format 0x${tag.toString(16)}`;
    throw new AudioReadError(path, `WAV files with ${what} are not supported; convert it to PCM`);
  }
  // Samples of fewer valid bits sit in the high bits of their container, so that only the container counts.
  const encoding = name[bits];
  if (encoding) return encoding;
  const kind = { [PCM]: "PCM", [FLOAT]: "float" }[tag] ?? OTHER_ENCODINGS[tag];
  throw new AudioReadError(path, `its header claims ${kind} samples of ${bits} bits`);
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
