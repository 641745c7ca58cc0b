/** The audio files that the data benchmark reads: made once, and kept between its calls. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AudioFormat } from "../data/audio/write.ts";
import { writeAudio } from "../data/audio/write.ts";

const FILES = 16;
export const SECONDS = 30;
const RATE = 44100;

/** Path of a manifest of 16 stereo files of 30 s at 44.1 kHz: chirps in noise (MP3 at 192 kbit/s). */
export async function benchFiles(format: AudioFormat): Promise<string> {
  const folder = join(tmpdir(), `musicgen-tfjs-bench-${process.getuid?.() ?? 0}`, format);
  mkdirSync(folder, { recursive: true });
  const rows: string[] = [];
  for (let i = 0; i < FILES; i++) {
    const path = join(folder, `${i}.${format}`);
    if (!existsSync(path))
      await writeAudio(path, { samples: chirp(i), sampleRate: RATE }, { format, mp3Rate: 192 });
    rows.push(JSON.stringify({ path, duration: SECONDS, sample_rate: RATE }));
  }
  const manifest = join(folder, "data.jsonl");
  writeFileSync(manifest, `${rows.join("\n")}\n`);
  return manifest;
}

function chirp(index: number): Float32Array[] {
  const left = new Float32Array(SECONDS * RATE);
  const right = new Float32Array(SECONDS * RATE);
  let state = index + 1;
  const noise = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return 0.02 * (state / 2 ** 31 - 1);
  };
  for (let i = 0; i < left.length; i++) {
    const t = i / RATE;
    const tone = 0.3 * Math.sin(2 * Math.PI * (60 + 11 * index) * t * (1 + (0.1 * t) / SECONDS));
    left[i] = tone + noise();
    right[i] = 0.7 * tone + noise();
  }
  return [left, right];
}
