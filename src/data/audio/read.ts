/** Reads any supported audio file: what it holds, and segments of it without decoding the whole. */
import { UserError } from "../../errors.ts";
import { AiffFile } from "./aiff.ts";
import { type AudioClip, type AudioFile, type AudioInfo, AudioReadError } from "./audio.ts";
import { FfmpegFile, findFfmpeg, probeWithFfmpeg } from "./ffmpeg.ts";
import { FileBytes } from "./file_bytes.ts";
import { FlacFile } from "./flac.ts";
import { Mp3File } from "./mp3.ts";
import { parseMpegHeader, skipId3 } from "./mp3_index.ts";
import { OggFile } from "./ogg.ts";
import type { Scratch } from "./scratch.ts";
import { WavFile } from "./wav.ts";

export interface ReadOptions {
  /** Seconds; the segment begins at sample floor(start * rate). Default 0. */
  start?: number;
  /** Seconds, floor(duration * rate) samples; left out or <= 0: to the end of the file. */
  duration?: number;
  /** Append silence where the file ends before the segment does. Default false: the segment is then shorter. */
  pad?: boolean;
  /** Decoder of compressed formats: by default those in WebAssembly, and ffmpeg for what they do not decode. */
  decoder?: "ffmpeg" | "wasm";
}

/** Rate, channels and exact length of a file, without decoding it. Throws AudioReadError. */
export async function audioInfo(
  path: string,
  options: Pick<ReadOptions, "decoder"> = {},
): Promise<AudioInfo> {
  const file = await openAudio(path, options.decoder);
  try {
    return file.info;
  } finally {
    file.close();
  }
}

/**
 * A segment of a file at the file's own rate and channels. Equal to the same slice of the whole decoded file.
 * Throws AudioReadError when the file is missing, damaged, shorter than its header says, or needs ffmpeg and there is none.
 */
export async function readAudio(path: string, options: ReadOptions = {}): Promise<AudioClip> {
  const file = await openAudio(path, options.decoder);
  try {
    return await readSegment(file, options);
  } finally {
    file.close();
  }
}

/** The segment of an open file that `options` asks for (see readAudio). */
export async function readSegment(
  file: AudioFile,
  options: ReadOptions,
  scratch?: Scratch,
): Promise<AudioClip> {
  const { sampleRate, channels, frames: total } = file.info;
  const start = Math.floor(sampleRate * (options.start ?? 0));
  const whole = options.duration === undefined || options.duration <= 0;
  const wanted = whole ? Math.max(0, total - start) : Math.floor(sampleRate * (options.duration as number));
  const present = Math.max(0, Math.min(wanted, total - start));
  const length = options.pad ? wanted : present;
  let samples = present > 0 ? await file.read(start, present, scratch) : undefined;
  if (!samples || length > present) {
    const read = samples;
    samples = Array.from({ length: channels }, (_, c) => {
      const padded = new Float32Array(length);
      if (read) padded.set(read[c]);
      return padded;
    });
  }
  return { samples, sampleRate };
}

/** Opens a file by what it holds, whatever its name says. The caller closes it. */
export async function openAudio(path: string, decoder?: "ffmpeg" | "wasm"): Promise<AudioFile> {
  const bytes = new FileBytes(path);
  let file: AudioFile | undefined;
  try {
    file = await openFormat(bytes, decoder);
    return file;
  } finally {
    // The others open the file in their own way.
    if (
      !(
        file instanceof WavFile ||
        file instanceof AiffFile ||
        file instanceof FlacFile ||
        file instanceof Mp3File
      )
    )
      bytes.close();
  }
}

async function openFormat(bytes: FileBytes, decoder: "ffmpeg" | "wasm" | undefined): Promise<AudioFile> {
  const { path } = bytes;
  const format = recognise(bytes);
  if (format.name === "wav") return new WavFile(bytes);
  if (format.name === "aiff") return new AiffFile(bytes);
  const own = await openOwn(bytes, format);
  if (own && decoder !== "ffmpeg") return own;
  const ffmpeg = decoder === "wasm" ? undefined : findFfmpeg();
  if (!ffmpeg && decoder === "ffmpeg")
    throw new UserError("ffmpeg was asked for, but is neither in PATH nor $FFMPEG_PATH");
  if (!ffmpeg) throw needsFfmpeg(path, format.name === "other" ? format.is : undefined);
  own?.close();
  return new FfmpegFile(ffmpeg, path, own?.info ?? probeWithFfmpeg(ffmpeg, path));
}

/** The file in our own way: as fast as starting ffmpeg, and with the same samples whether there is one or not. */
async function openOwn(bytes: FileBytes, format: Format): Promise<AudioFile | undefined> {
  if (format.name === "flac") return new FlacFile(bytes, format.offset);
  if (format.name === "mp3") return new Mp3File(bytes);
  if (format.name === "ogg") return OggFile.open(bytes.path);
  return undefined;
}

function needsFfmpeg(path: string, is: string | undefined): AudioReadError {
  if (!is) return new AudioReadError(path, "it is of no audio format that is known here");
  return new AudioReadError(path, `it is ${is}, which needs ffmpeg: install it, or set FFMPEG_PATH to it`);
}

type Format =
  | { name: "wav" | "aiff" | "mp3" | "ogg" }
  | { name: "flac"; offset: number }
  | { name: "other"; is: string | undefined };

function recognise(bytes: FileBytes): Format {
  const offset = skipId3(bytes);
  const b = bytes.read(offset, 12);
  const text = (at: number) => String.fromCharCode(...b.subarray(at, at + 4));
  if (["RIFF", "RF64", "BW64"].includes(text(0)) && text(8) === "WAVE") return { name: "wav" };
  if (text(0) === "fLaC") return { name: "flac", offset };
  if (text(0) === "OggS") return { name: "ogg" };
  if (text(4) === "ftyp") return { name: "other", is: "an MP4 file (AAC or ALAC)" };
  if (text(0) === "FORM" && /AIF[FC]/.test(text(8))) return { name: "aiff" };
  if (text(0) === "caff") return { name: "other", is: "a CAF file" };
  if (b[0] === 0xff && (b[1] & 0xf6) === 0xf0) return { name: "other", is: "an AAC stream" };
  if (parseMpegHeader(b[0], b[1], b[2], b[3]) || /\.mp[123]$/i.test(bytes.path) || offset > 0)
    return { name: "mp3" };
  return { name: "other", is: undefined };
}
