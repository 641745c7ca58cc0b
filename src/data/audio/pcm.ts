/** Interleaved samples of uncompressed files (WAV, AIFF) as planar floats. */
import { AudioReadError } from "./audio.ts";
import type { FileBytes } from "./file_bytes.ts";
import { requireSaneLevel } from "./level.ts";
import { floats, type Scratch } from "./scratch.ts";

/** Kind and bits of a sample, little or big endian. */
export type Encoding = keyof typeof ENCODINGS;

type Convert = (bytes: Uint8Array, from: number, step: number, out: Float32Array, at: number) => void;

/** Bytes of a sample, and the loop that converts one channel of a block: samples at `from`, `from + step`, … of it. */
const ENCODINGS = {
  u8: { size: 1, convert: table((byte) => (byte - 128) / 128) },
  s8: { size: 1, convert: table((byte) => ((byte << 24) >> 24) / 128) },
  alaw: { size: 1, convert: table(fromALaw) },
  mulaw: { size: 1, convert: table(fromMuLaw) },
  s16le: { size: 2, convert: convert16 },
  s24le: { size: 3, convert: convert24 },
  s32le: { size: 4, convert: convert32 },
  f32le: { size: 4, convert: convertFloat32 },
  f64le: { size: 8, convert: convertFloat64 },
  s16be: { size: 2, convert: swapped("swap16", convert16) },
  s24be: { size: 3, convert: convert24Big },
  s32be: { size: 4, convert: swapped("swap32", convert32) },
  f32be: { size: 4, convert: swapped("swap32", convertFloat32) },
  f64be: { size: 8, convert: swapped("swap64", convertFloat64) },
} satisfies Record<string, { size: number; convert: Convert }>;

export function sampleBytes(encoding: Encoding): number {
  return ENCODINGS[encoding].size;
}

/** One for all reads: memory that is new each time costs more than the conversion. Aligned for every type. */
const block = new Uint8Array(1 << 16);

/**
 * `frames` frames from byte `offset` of a file on. Throws AudioReadError when they are not all there, and for floats that
 * are no audio.
 */
export function readPcm(
  file: FileBytes,
  offset: number,
  encoding: Encoding,
  channels: number,
  frames: number,
  scratch?: Scratch,
): Float32Array[] {
  const { size } = ENCODINGS[encoding];
  const convert: Convert = ENCODINGS[encoding].convert;
  const samples = Array.from({ length: channels }, () => floats(frames, scratch));
  const blockFrames = Math.floor(block.length / (size * channels));
  for (let done = 0; done < frames; done += blockFrames) {
    const bytes = block.subarray(0, Math.min(blockFrames, frames - done) * size * channels);
    if (file.readInto(bytes, offset + done * size * channels) < bytes.length)
      throw new AudioReadError(file.path, "it became shorter while it was read");
    for (let c = 0; c < channels; c++) convert(bytes, c, channels, samples[c], done);
  }
  return encoding.startsWith("f") ? requireSaneLevel(file.path, samples) : samples;
}

// Positions count samples. Each loop sees one type of array only, which makes it fast.

function convert16(bytes: Uint8Array, from: number, step: number, out: Float32Array, at: number): void {
  const values = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1);
  for (let i = from; i < values.length; i += step, at++) out[at] = values[i] * 2 ** -15;
}

function convert24(b: Uint8Array, from: number, step: number, out: Float32Array, at: number): void {
  for (let i = 3 * from; i < b.length; i += 3 * step, at++)
    out[at] = ((b[i] << 8) | (b[i + 1] << 16) | (b[i + 2] << 24)) * 2 ** -31;
}

function convert32(bytes: Uint8Array, from: number, step: number, out: Float32Array, at: number): void {
  const values = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  for (let i = from; i < values.length; i += step, at++) out[at] = values[i] * 2 ** -31;
}

function convertFloat32(bytes: Uint8Array, from: number, step: number, out: Float32Array, at: number): void {
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  for (let i = from; i < values.length; i += step, at++) out[at] = values[i];
}

function convertFloat64(bytes: Uint8Array, from: number, step: number, out: Float32Array, at: number): void {
  const values = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length >> 3);
  for (let i = from; i < values.length; i += step, at++) out[at] = values[i];
}

function table(value: (byte: number) => number): Convert {
  const values = Float32Array.from({ length: 256 }, (_, byte) => value(byte));
  return (bytes, from, step, out, at) => {
    for (let i = from, o = at; i < bytes.length; i += step, o++) out[o] = values[bytes[i]];
  };
}

function convert24Big(b: Uint8Array, from: number, step: number, out: Float32Array, at: number): void {
  for (let i = 3 * from; i < b.length; i += 3 * step, at++)
    out[at] = ((b[i] << 24) | (b[i + 1] << 16) | (b[i + 2] << 8)) * 2 ** -31;
}

/** Converts big-endian samples, whose bytes are turned around in place before the first channel. */
function swapped(swap: "swap16" | "swap32" | "swap64", convert: Convert): Convert {
  return (bytes, from, step, out, at) => {
    if (from === 0) Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)[swap]();
    convert(bytes, from, step, out, at);
  };
}

/** ITU-T G.711, A-law: sign, exponent and mantissa of a 13-bit number, alternate bits inverted. */
function fromALaw(byte: number): number {
  const code = byte ^ 0x55;
  const exponent = (code >> 4) & 7;
  const mantissa = ((code & 15) << 4) + 8;
  const size = exponent === 0 ? mantissa : (mantissa + 256) << (exponent - 1);
  return (code & 128 ? size : -size) / 2 ** 15;
}

/** ITU-T G.711, mu-law: likewise, of a 14-bit number, all bits inverted. */
function fromMuLaw(byte: number): number {
  const code = ~byte & 255;
  const size = ((((code & 15) << 3) + 132) << ((code >> 4) & 7)) - 132;
  return (code & 128 ? -size : size) / 2 ** 15;
}
