/** Audio files in parts of about ten minutes for a codec, at its rate, with what it must hear around them. */
import { AudioReadError } from "../audio/audio.ts";
import { convertChannels } from "../audio/channels.ts";
import { openAudio, readSegment } from "../audio/read.ts";
import { resample } from "../audio/resample.ts";
import type { AudioMeta } from "../manifest.ts";
import { checkDuration } from "../segment_samples.ts";

/** What the audio is wanted for. */
export interface CodecForm {
  sampleRate: number;
  channels: number;
  frameRate: number;
  /** Seconds and share of the crops that will be taken. */
  segmentDuration: number;
  minSegmentRatio: number;
}

/** Seconds of a part, and of the audio before and after it that is coded with it and dropped. */
const PART_SECONDS = 600;
const CONTEXT_SECONDS = 2;

/** Lengths are multiples of this, by more silence: a codec's function is traced anew for every length. */
const STEP_SECONDS = 2;

/** A part of a file. `wav` is planar [C, T] with its surroundings, of which it is `frames` frames from `skip` on. */
export interface AudioPart {
  wav: Float32Array<ArrayBuffer>;
  part: number;
  parts: number;
  /** Its first frame in the file. */
  start: number;
  skip: number;
  frames: number;
  /** Samples of the whole file per channel. */
  samples: number;
  duration: number;
}

/**
 * Part number `part` of a file. The last part goes on with silence, to where the last crop may end. Throws AudioReadError.
 */
export async function readPart(meta: AudioMeta, part: number, form: CodecForm): Promise<AudioPart> {
  const { sampleRate, channels, frameRate, segmentDuration, minSegmentRatio } = form;
  const file = await openAudio(meta.path);
  try {
    const { duration, frames: fileFrames, sampleRate: fileRate } = file.info;
    checkDuration(meta, duration);
    const samples = Math.floor((fileFrames * sampleRate) / fileRate);
    if (samples === 0)
      throw new AudioReadError(meta.path, "it is shorter than one sample at the codec's rate");
    // parts begin at whole frames and whole samples of the file, which whole seconds are if the frame rate is whole
    const parts = Number.isInteger(frameRate) ? Math.max(1, Math.round(duration / PART_SECONDS)) : 1;
    const isLast = part === parts - 1;
    const from = Math.max(0, part * PART_SECONDS - CONTEXT_SECONDS);
    const to = (part + 1) * PART_SECONDS + CONTEXT_SECONDS;
    const clip = await readSegment(file, { start: from, duration: isLast ? undefined : to - from });
    const heard = resample(convertChannels(clip.samples, channels), fileRate, sampleRate);
    const start = part * PART_SECONDS * frameRate;
    const first = from * frameRate;
    const end = isLast
      ? Math.max(
          lastFrame(Math.max(duration, meta.duration), segmentDuration, minSegmentRatio, frameRate),
          Math.ceil((samples / sampleRate) * frameRate),
        )
      : start + PART_SECONDS * frameRate;
    const length = isLast
      ? roundUp(((end - first) * sampleRate) / frameRate, STEP_SECONDS * sampleRate)
      : heard[0].length;
    const wav = new Float32Array(channels * length);
    for (const [c, channel] of heard.entries()) wav.set(channel.subarray(0, length), c * length);
    return { wav, part, parts, start, skip: start - first, frames: end - start, samples, duration };
  } finally {
    file.close();
  }
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

/** Behind the last frame that a crop may have: it begins at most minSegmentRatio of a segment before the end of the file. */
function lastFrame(duration: number, segment: number, minRatio: number, frameRate: number): number {
  const lastStart = Math.floor(Math.max(0, duration - segment * minRatio) * frameRate);
  return lastStart + Math.ceil(segment * frameRate - 1e-6);
}
