/** Audio in memory and the error for files that cannot be read. */
import { UserError } from "../../errors.ts";
import type { Scratch } from "./scratch.ts";

/** Planar samples in [-1, 1], one Float32Array per channel, all of the same length. */
export interface AudioClip {
  samples: Float32Array[];
  sampleRate: number;
}

/** What a file holds, known without decoding it. `duration` is in seconds, `frames` counts samples per channel. */
export interface AudioInfo {
  sampleRate: number;
  channels: number;
  frames: number;
  duration: number;
}

/** A file opened for segment reads. Positions count samples per channel at the file's own rate. */
export interface AudioFile {
  readonly info: AudioInfo;
  /**
   * Samples [start, start + frames), which must lie inside the file. With `scratch`, they may be in its memory.
   * Throws AudioReadError if they cannot be had, all of them, as finite numbers.
   */
  read(start: number, frames: number, scratch?: Scratch): Promise<Float32Array[]>;
  close(): void;
}

/** One file cannot be read. Data sets replace the file by another draw; the reason is for people. */
export class AudioReadError extends Error {
  override name = "AudioReadError";
  readonly path: string;
  readonly reason: string;
  constructor(path: string, reason: string) {
    super(`cannot read audio file ${path}: ${reason}`);
    this.path = path;
    this.reason = reason;
  }
}

const MAX_SAMPLE_RATE = 1_000_000;
const MAX_CHANNELS = 64;

/** Checks a header's claims, so that a damaged one is refused before memory is asked for. */
export function describeAudio(path: string, sampleRate: number, channels: number, frames: number): AudioInfo {
  if (!(sampleRate >= 1 && sampleRate <= MAX_SAMPLE_RATE))
    throw new AudioReadError(path, `its header claims a sample rate of ${sampleRate} Hz`);
  if (!(channels >= 1 && channels <= MAX_CHANNELS))
    throw new AudioReadError(path, `its header claims ${channels} channels`);
  if (!(frames > 0)) throw new AudioReadError(path, "it holds no audio");
  return { sampleRate, channels, frames, duration: frames / sampleRate };
}

/** `audio` itself; a UserError that names `path`, where it was to be written, when a sample is NaN or infinite. */
export function requireFinite(path: string, audio: AudioClip): AudioClip {
  for (const channel of audio.samples)
    for (let i = 0; i < channel.length; i++)
      if (!Number.isFinite(channel[i]))
        throw new UserError(`${path}: the audio holds ${channel[i]} at sample ${i}`);
  return audio;
}
