/** Writes WAV files, whole or not at all. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { writeError } from "../../checkpoint/atomic_file.ts";
import { type AudioClip, requireFinite } from "./audio.ts";

/** Samples in the file: PCM of 16 or 24 bits, or 32-bit float. */
export type WavSamples = "s16" | "s24" | "f32";

/**
 * Writes `audio` in one go. Samples must be finite; those of PCM are clamped to [-1, 1].
 * The file appears under its name only when it is complete (temporary file, then rename).
 */
export function writeWav(path: string, audio: AudioClip, options: { format?: WavSamples } = {}): void {
  const bytes = encodeWav(requireFinite(path, audio), options.format);
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, bytes);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw writeError(path, bytes.length, error as NodeJS.ErrnoException);
  }
}

/** The bytes of a WAV file. */
export function encodeWav({ samples, sampleRate }: AudioClip, format: WavSamples = "s16"): Uint8Array {
  const data =
    format === "f32"
      ? bytesOf(interleave(samples))
      : format === "s24"
        ? toInt24(samples)
        : bytesOf(toInt16(samples));
  return Buffer.concat([wavHeader(samples.length, sampleRate, samples[0]?.length ?? 0, format), data]);
}

/**
 * RIFF header of 44 bytes (58 with the fact chunk that float files carry) of a file with `frames` samples per channel: what a
 * stream of samples begins with when its length is known before.
 */
export function wavHeader(
  channels: number,
  sampleRate: number,
  frames: number,
  format: WavSamples = "s16",
): Uint8Array {
  const float = format === "f32";
  const width = { s16: 2, s24: 3, f32: 4 }[format];
  const dataBytes = frames * channels * width;
  const padding = dataBytes % 2;
  const formatBytes = float ? 18 : 16;
  const extra = float ? 14 : 0;
  const header = Buffer.alloc(44 + extra);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + extra + dataBytes + padding, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(formatBytes, 16);
  header.writeUInt16LE(float ? 3 : 1, 20);
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(sampleRate, 24);
  header.writeUInt32LE(sampleRate * channels * width, 28);
  header.writeUInt16LE(channels * width, 32);
  header.writeUInt16LE(8 * width, 34);
  if (float) {
    header.write("fact", 38);
    header.writeUInt32LE(4, 42);
    header.writeUInt32LE(frames, 46);
  }
  header.write("data", 36 + extra);
  header.writeUInt32LE(dataBytes, 40 + extra);
  return header;
}

/** Planar floats -> interleaved 16-bit: round(x * 2^15) in float32, or * (2^15 - 1) if that would overflow anywhere. */
export function toInt16(samples: Float32Array[]): Int16Array {
  const scale = pcmScale(samples, 15);
  const floats = interleave(samples);
  const out = new Int16Array(floats.length);
  for (let i = 0; i < out.length; i++)
    out[i] = roundHalfEven(Math.fround(Math.max(-1, Math.min(1, floats[i])) * scale));
  return out;
}

function roundHalfEven(x: number): number {
  const rounded = Math.round(x);
  return Math.abs(x % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

function interleave(samples: Float32Array[]): Float32Array {
  const channels = samples.length;
  const out = new Float32Array(channels * (samples[0]?.length ?? 0));
  for (let c = 0; c < channels; c++)
    for (let i = 0, j = c; i < samples[c].length; i++, j += channels) out[j] = samples[c][i];
  return out;
}

/** The same for 24 bits, as three bytes each; padded to an even number of them, as RIFF wants it. */
function toInt24(samples: Float32Array[]): Uint8Array {
  const scale = pcmScale(samples, 23);
  const floats = interleave(samples);
  const bytes = new Uint8Array(3 * floats.length + ((3 * floats.length) % 2));
  for (let i = 0; i < floats.length; i++) {
    const value = roundHalfEven(Math.max(-1, Math.min(1, floats[i])) * scale);
    bytes[3 * i] = value;
    bytes[3 * i + 1] = value >> 8;
    bytes[3 * i + 2] = value >> 16;
  }
  return bytes;
}

function pcmScale(samples: Float32Array[], bits: number): number {
  let peak = Number.NEGATIVE_INFINITY;
  for (const channel of samples)
    for (let i = 0; i < channel.length; i++) if (channel[i] > peak) peak = channel[i];
  return Math.min(peak, 1) * 2 ** bits >= 2 ** bits - 0.5 ? 2 ** bits - 1 : 2 ** bits;
}

function bytesOf(values: Int16Array | Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
