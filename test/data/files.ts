/** What the data tests share: golden tensors, scratch folders, and audio files made on the spot. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { writeWav } from "../../src/data/audio/write_wav.ts";
import type { AudioMeta } from "../../src/data/manifest.ts";

export function goldenPath(name: string): string {
  return fileURLToPath(new URL(`../golden/audio/${name}`, import.meta.url));
}

/** Tensors [C, T] of a golden file as planar channels. */
export function golden(name: string): Record<string, Float32Array[]> {
  const bytes = readFileSync(goldenPath(name));
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerBytes).toString());
  return Object.fromEntries(
    Object.entries<{ dtype: string; shape: number[]; data_offsets: [number, number] }>(header).map(
      ([key, entry]) => {
        const [from, to] = entry.data_offsets.map((offset) => offset + bytes.byteOffset + 8 + headerBytes);
        const buffer = bytes.buffer.slice(from, to) as ArrayBuffer;
        const flat =
          entry.dtype === "I32" ? Float32Array.from(new Int32Array(buffer)) : new Float32Array(buffer);
        const length = entry.shape.at(-1) ?? 1;
        return [
          key,
          Array.from({ length: flat.length / length }, (_, c) => flat.subarray(c * length, (c + 1) * length)),
        ];
      },
    ),
  );
}

/** Largest difference over the frames that both have; lengths must agree unless `prefix`. */
export function maxDifference(
  a: Float32Array[],
  b: Float32Array[],
  options: { prefix?: boolean } = {},
): number {
  if (a.length !== b.length) throw new Error(`${a.length} against ${b.length} channels`);
  let worst = 0;
  for (const [c, channel] of a.entries()) {
    if (channel.length !== b[c].length && !options.prefix)
      throw new Error(`${channel.length} against ${b[c].length} frames`);
    const frames = Math.min(channel.length, b[c].length);
    if (frames === 0) throw new Error("nothing to compare");
    for (let i = 0; i < frames; i++) {
      const difference = Math.abs(channel[i] - b[c][i]);
      if (!(difference <= worst)) worst = difference;
    }
  }
  return worst;
}

/** A folder that is removed when the test file is done. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "musicgen-data-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A mono WAV whose sample i is i / 2^20: each sample tells its position (exactly, as float). */
export function rampWav(path: string, seconds: number, sampleRate = 1000): AudioMeta {
  const ramp = Float32Array.from({ length: seconds * sampleRate }, (_, i) => i / 2 ** 20);
  writeWav(path, { samples: [ramp], sampleRate }, { format: "f32" });
  return { path, duration: seconds, sampleRate, amplitude: null, weight: null, infoPath: null };
}

/** Writes a manifest with the rows' paths as they are. */
export function manifestOf(path: string, rows: Partial<AudioMeta>[]): string {
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return path;
}

/** A mono WAV with a sine. */
export function toneWav(
  path: string,
  seconds: number,
  hertz: number,
  sampleRate = 1000,
  gain = 0.5,
): AudioMeta {
  const wave = Float32Array.from(
    { length: seconds * sampleRate },
    (_, i) => gain * Math.sin((2 * Math.PI * hertz * i) / sampleRate),
  );
  writeWav(path, { samples: [wave], sampleRate }, { format: "f32" });
  return { path, duration: seconds, sampleRate, amplitude: null, weight: null, infoPath: null };
}
