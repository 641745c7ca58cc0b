/** Writes audio as a file of any format that has an encoder here, whole or not at all. */
import { mkdirSync } from "node:fs";
import { dirname, extname } from "node:path";
import { createOggEncoder } from "wasm-media-encoders";
import { writeFileAtomically } from "../../checkpoint/atomic_file.ts";
import { UserError } from "../../errors.ts";
import { type AudioClip, requireFinite } from "./audio.ts";
import { encodeFlac } from "./write_flac.ts";
import { encodeMp3 } from "./write_mp3.ts";
import { encodeWav, toInt16 } from "./write_wav.ts";

export const AUDIO_FORMATS = ["wav", "flac", "mp3", "ogg"] as const;
export type AudioFormat = (typeof AUDIO_FORMATS)[number];

export interface WriteAudioOptions {
  /** By default what the path's extension says. */
  format?: AudioFormat;
  /** Bits of a WAV file's samples: 16 and 24 are integers, 32 is float. Default 16. FLAC always has 16. */
  bits?: 16 | 24 | 32;
  /** Bit rate of MP3 in kbit/s. Default 320. */
  mp3Rate?: number;
  /** Quality of Ogg Vorbis from -1 to 10; 5 is about 160 kbit/s in stereo. Default 6. */
  oggQuality?: number;
}

/**
 * Writes planar samples; those beyond [-1, 1] are clamped (not in float WAV). The folder is made if there is none. The file
 * appears under its name only when it is complete.
 * @throws UserError when the format is unknown or cannot hold the audio, a sample is not finite, or the disk refuses
 */
export async function writeAudio(
  path: string,
  audio: AudioClip,
  options: WriteAudioOptions = {},
): Promise<void> {
  const bytes = await encodeAudio(requireFinite(path, audio), options.format ?? formatOf(path), options);
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    throw new UserError(`${path}: cannot make its folder: ${(error as Error).message}`);
  }
  await writeFileAtomically(path, bytes.length, (file) => file.append(bytes));
}

/** The bytes of an audio file. Samples must be finite. */
export async function encodeAudio(
  { samples, sampleRate }: AudioClip,
  format: AudioFormat,
  { bits = 16, mp3Rate = 320, oggQuality = 6 }: Omit<WriteAudioOptions, "format"> = {},
): Promise<Uint8Array> {
  if (!(samples[0]?.length > 0)) throw new UserError("there is no audio to write: it has no samples");
  switch (format) {
    case "wav":
      return encodeWav({ samples, sampleRate }, ({ 16: "s16", 24: "s24", 32: "f32" } as const)[bits]);
    case "flac":
      return encodeFlac(planar16(samples), sampleRate);
    case "mp3":
      return encodeMp3(clamped(samples), sampleRate, mp3Rate);
    case "ogg":
      return encodeOgg(clamped(samples), sampleRate, oggQuality);
    default:
      throw new UserError(`format ${format} is unknown; known: ${AUDIO_FORMATS.join(", ")}`);
  }
}

/** The format that a file's name asks for. @throws UserError when there is no encoder for it */
export function formatOf(path: string): AudioFormat {
  const extension = extname(path).slice(1).toLowerCase();
  const format = AUDIO_FORMATS.find((known) => known === extension);
  if (format) return format;
  throw new UserError(
    `${path}: no encoder for .${extension}; give it one of ${AUDIO_FORMATS.map((f) => `.${f}`).join(", ")}`,
  );
}

/** Ogg Vorbis by libvorbis (in WebAssembly). */
async function encodeOgg(
  samples: Float32Array[],
  sampleRate: number,
  vbrQuality: number,
): Promise<Uint8Array> {
  if (samples.length > 2)
    throw new UserError(`Ogg Vorbis is written with one or two channels, not ${samples.length}`);
  if (!(vbrQuality >= -1 && vbrQuality <= 10)) throw new UserError(`Ogg quality ${vbrQuality}: use -1 to 10`);
  const encoder = await createOggEncoder();
  encoder.configure({ sampleRate, channels: samples.length as 1 | 2, vbrQuality });
  const parts: Uint8Array[] = [];
  // a second at a time: the encoder's buffers grow with what it is given; it reuses them, so copy
  for (let start = 0; start < samples[0].length; start += sampleRate)
    parts.push(encoder.encode(samples.map((channel) => channel.subarray(start, start + sampleRate))).slice());
  parts.push(encoder.finalize().slice());
  return Buffer.concat(parts);
}

/** 16-bit samples per channel, by the rule of `toInt16`. */
function planar16(samples: Float32Array[]): Int16Array[] {
  const interleaved = toInt16(samples);
  const count = samples.length;
  return samples.map((channel, c) => Int16Array.from(channel, (_, i) => interleaved[i * count + c]));
}

function clamped(samples: Float32Array[]): Float32Array[] {
  return samples.map((channel) => channel.map((x) => Math.max(-1, Math.min(1, x))));
}
