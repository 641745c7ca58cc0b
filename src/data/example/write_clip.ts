/** Writes a clip's samples as an audio file: WAV and FLAC (16-bit), MP3. */
import { writeFile } from "node:fs/promises";
import { encodeFlac } from "../audio/write_flac.ts";
import { encodeMp3 } from "../audio/write_mp3.ts";
import { writeWav } from "../audio/write_wav.ts";
import type { ClipSpec } from "./specs.ts";

/** `samples` holds one array per channel, within +-1. MP3 gets 64 kbit/s per channel. */
export async function writeClip(
  path: string,
  samples: Float32Array[],
  sampleRate: number,
  format: ClipSpec["format"],
): Promise<void> {
  switch (format) {
    case "wav":
      return writeWav(path, { samples, sampleRate });
    case "flac":
      return writeFile(path, encodeFlac(samples.map(toInt16), sampleRate));
    case "mp3":
      return writeFile(path, await encodeMp3(samples, sampleRate, 64 * samples.length));
  }
}

function toInt16(samples: Float32Array): Int16Array {
  const out = new Int16Array(samples.length);
  for (let i = 0; i < out.length; i++) out[i] = Math.min(32767, Math.round(samples[i] * 32768));
  return out;
}
