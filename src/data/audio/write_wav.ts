/** Writes WAV files, whole or not at all. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { writeError } from "../../checkpoint/atomic_file.ts";
import { UserError } from "../../errors.ts";
import type { AudioClip } from "./audio.ts";

/**
 * Writes `audio` as 16-bit PCM or 32-bit float. Samples must be finite; 16-bit ones are clamped to [-1, 1].
 * The file appears under its name only when it is complete (temporary file, then rename).
 */
export function writeWav(path: string, audio: AudioClip, options: { format?: "s16" | "f32" } = {}): void {
  const { samples, sampleRate } = audio;
  for (const channel of samples)
    for (let i = 0; i < channel.length; i++)
      if (!Number.isFinite(channel[i]))
        throw new UserError(`${path}: the audio holds ${channel[i]} at sample ${i}`);
  const float = options.format === "f32";
  const data = float ? interleave(samples) : toInt16(samples);
  const header = wavHeader(samples.length, sampleRate, data.BYTES_PER_ELEMENT, float, data.byteLength);
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, Buffer.concat([header, new Uint8Array(data.buffer)]));
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw writeError(path, header.length + data.byteLength, error as NodeJS.ErrnoException);
  }
}

/** Planar floats -> interleaved 16-bit: round(x * 2^15) in float32, or * (2^15 - 1) if that would overflow anywhere. */
export function toInt16(samples: Float32Array[]): Int16Array {
  let peak = Number.NEGATIVE_INFINITY;
  for (const channel of samples)
    for (let i = 0; i < channel.length; i++) if (channel[i] > peak) peak = channel[i];
  const scale = Math.min(peak, 1) * 2 ** 15 >= 2 ** 15 - 0.5 ? 2 ** 15 - 1 : 2 ** 15;
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

/** RIFF header of 44 bytes (58 with the fact chunk that float files carry). */
function wavHeader(
  channels: number,
  sampleRate: number,
  width: number,
  float: boolean,
  dataBytes: number,
): Buffer {
  const formatBytes = float ? 18 : 16;
  const extra = float ? 14 : 0;
  const header = Buffer.alloc(44 + extra);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + extra + dataBytes, 4);
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
    header.writeUInt32LE(dataBytes / (channels * width), 46);
  }
  header.write("data", 36 + extra);
  header.writeUInt32LE(dataBytes, 40 + extra);
  return header;
}
