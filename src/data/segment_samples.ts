/** The samples of one segment of a file, at the rate and channels of a data set, or the reason why it cannot be had. */
import { AudioReadError } from "./audio/audio.ts";
import { convertChannels } from "./audio/channels.ts";
import { openAudio, readSegment } from "./audio/read.ts";
import { resample } from "./audio/resample.ts";
import type { Scratch } from "./audio/scratch.ts";
import type { AudioMeta } from "./manifest.ts";

/** Manifests may be this much (relative and in seconds) above a file's true duration: some formats only allow estimates. */
const DURATION_TOLERANCE = { ratio: 0.02, seconds: 0.2 };

/** Seconds spent so far. */
export interface ReadTimes {
  /** Opening files, reading and decoding. */
  decode: number;
  /** Other channels, another rate. */
  resample: number;
}

interface SegmentForm {
  /** null: the whole file. */
  segmentDuration: number | null;
  sampleRate: number;
  channels: number;
}

/**
 * Planar samples from `seekTime` on, fewer than the segment's where the file ends; in the memory of `scratch`. Adds to `times`.
 * Throws AudioReadError when the file cannot be read, or is not what the manifest says.
 */
export async function readSamples(
  meta: AudioMeta,
  seekTime: number,
  { segmentDuration, sampleRate, channels }: SegmentForm,
  scratch: Scratch,
  times: ReadTimes = { decode: 0, resample: 0 },
): Promise<Float32Array[]> {
  const began = performance.now();
  const file = await openAudio(meta.path);
  try {
    checkRate(meta, file.info);
    checkDuration(meta, file.info.duration);
    const duration = segmentDuration ?? undefined;
    const clip = await readSegment(file, { start: seekTime, duration }, scratch);
    checkLength(meta, seekTime, segmentDuration, clip.samples[0].length / clip.sampleRate);
    const decoded = performance.now();
    times.decode += (decoded - began) / 1000;
    // Replicating one channel may wait: then it is resampled once.
    const isMono = clip.samples.length === 1;
    const mixed = isMono ? clip.samples : convertChannels(clip.samples, channels, scratch);
    const resampled = resample(mixed, clip.sampleRate, sampleRate, scratch);
    const samples = isMono ? convertChannels(resampled, channels) : resampled;
    times.resample += (performance.now() - decoded) / 1000;
    return samples;
  } catch (error) {
    // Channels or rates that cannot be converted, or more samples than there is memory for, are the file's fault.
    throw error instanceof RangeError ? new AudioReadError(meta.path, error.message) : error;
  } finally {
    file.close();
  }
}

/** A manifest that promises more than there is would fill segments with silence. Throws AudioReadError. */
export function checkDuration(meta: AudioMeta, duration: number): void {
  if (meta.duration - duration <= tolerance(meta)) return;
  throw new AudioReadError(
    meta.path,
    `the manifest says ${meta.duration} s, the file holds ${duration.toFixed(3)} s`,
  );
}

/** Rate and duration both other than in the manifest: the header is damaged, and would play the file at the wrong speed. */
function checkRate(meta: AudioMeta, info: { sampleRate: number; duration: number }): void {
  if (meta.sampleRate === null || meta.sampleRate === info.sampleRate) return;
  if (Math.abs(meta.duration - info.duration) <= tolerance(meta)) return;
  throw new AudioReadError(
    meta.path,
    `its header claims ${info.sampleRate} Hz and ${info.duration.toFixed(3)} s, the manifest ${meta.sampleRate} Hz and ${meta.duration} s`,
  );
}

function tolerance({ duration }: AudioMeta): number {
  return Math.max(DURATION_TOLERANCE.seconds, DURATION_TOLERANCE.ratio * duration);
}

/** Within what manifests may be wrong, segments at the end of a file could still be silence for the most part. */
function checkLength(
  meta: AudioMeta,
  seekTime: number,
  segmentDuration: number | null,
  present: number,
): void {
  const wanted = segmentDuration === null ? 0 : Math.min(segmentDuration, meta.duration - seekTime);
  if (present > 0 && wanted - present <= DURATION_TOLERANCE.seconds) return;
  throw new AudioReadError(
    meta.path,
    present === 0
      ? "the segment holds no audio"
      : `it ends ${(wanted - present).toFixed(2)} s before the ${meta.duration} s that the manifest says`,
  );
}
