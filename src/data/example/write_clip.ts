/** Writes a clip's samples as an audio file: WAV and FLAC (16-bit), MP3. */
import { writeFile } from "node:fs/promises";
import { createMp3Encoder } from "wasm-media-encoders";
import { writeWav } from "../audio/write_wav.ts";
import { encodeFlac } from "./flac.ts";
import type { ClipSpec } from "./specs.ts";

/**
 * `samples` holds one array per channel, within +-1. An MP3 decodes to a little more than was put in: the encoder pads
 * both ends.
 */
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
      return writeFile(path, await encodeMp3(samples, sampleRate));
  }
}

/** Constant bit rate, 64 kbit/s per channel. */
async function encodeMp3(channels: Float32Array[], sampleRate: number): Promise<Uint8Array> {
  const encoder = await createMp3Encoder();
  encoder.configure({
    sampleRate,
    channels: channels.length === 1 ? 1 : 2,
    bitrate: channels.length === 1 ? 64 : 128,
  });
  // The encoder reuses its output buffer: copy before the next call.
  const body = encoder.encode(channels).slice();
  return Buffer.concat([body, encoder.finalize()]);
}

function toInt16(samples: Float32Array): Int16Array {
  const out = new Int16Array(samples.length);
  for (let i = 0; i < out.length; i++) out[i] = Math.min(32767, Math.round(samples[i] * 32768));
  return out;
}
