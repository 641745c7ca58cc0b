/** Reads one audio file from beginning to end and measures it. A job for `runOnFiles`. */
import { createHash } from "node:crypto";
import { mean } from "../data/audio/channels.ts";
import { decodeBlocks } from "../data/audio_blocks.ts";
import { FINGERPRINT_SECONDS, fingerprint } from "./fingerprint.ts";

export interface Inspection {
  /** Seconds that the file really holds. */
  duration: number;
  sampleRate: number;
  channels: number;
  /** Largest absolute sample. */
  peak: number;
  /** Share of the time during which no channel gets above -60 dBFS. */
  silence: number;
  /** Share of samples in runs of at least three at full scale. */
  clipping: number;
  /** Equal for files that decode to the same samples. */
  hash: string;
  fingerprint: Uint32Array<ArrayBuffer>;
}

const SILENT = 1e-3;
/** Windows in which the peak is looked for. */
const WINDOW_SECONDS = 0.05;
const FULL_SCALE = 0.999;
const CLIPPED_RUN = 3;

/** Throws AudioReadError for files that cannot be decoded. */
export async function perform(path: string): Promise<Inspection> {
  const hashes: ReturnType<typeof createHash>[] = [];
  let words: Inspection["fingerprint"] | undefined;
  let frames = 0;
  let peak = 0;
  let silent = 0;
  let clipped = 0;
  const { sampleRate, channels } = await decodeBlocks(path, (block, info) => {
    frames += block[0].length;
    const window = Math.max(1, Math.floor(WINDOW_SECONDS * info.sampleRate));
    for (const [start, highest] of windowPeaks(block, window)) {
      peak = Math.max(peak, highest);
      if (highest < SILENT) silent += Math.min(window, block[0].length - start);
    }
    for (const [c, channel] of block.entries()) {
      hashes[c] ??= createHash("sha1");
      hashes[c].update(new Uint8Array(channel.buffer, channel.byteOffset, channel.byteLength));
      clipped += clippedSamples(channel);
    }
    words ??= fingerprint(mean(block).subarray(0, FINGERPRINT_SECONDS * info.sampleRate), info.sampleRate);
  });
  return {
    duration: frames / sampleRate,
    sampleRate,
    channels,
    peak,
    silence: silent / frames,
    clipping: clipped / (frames * channels),
    hash: [sampleRate, ...hashes.map((hash) => hash.digest("base64"))].join(":"),
    fingerprint: words ?? new Uint32Array(0),
  };
}

/** Where each window begins, and the largest absolute sample of any channel in it. */
function* windowPeaks(block: Float32Array[], window: number): Generator<[number, number]> {
  const frames = block[0].length;
  for (let start = 0; start < frames; start += window) {
    const end = Math.min(frames, start + window);
    let highest = 0;
    for (const channel of block)
      for (let i = start; i < end; i++) {
        const magnitude = Math.abs(channel[i]);
        if (magnitude > highest) highest = magnitude;
      }
    yield [start, highest];
  }
}

function clippedSamples(channel: Float32Array): number {
  let count = 0;
  let run = 0;
  for (let i = 0; i <= channel.length; i++) {
    if (i < channel.length && Math.abs(channel[i]) >= FULL_SCALE) {
      run++;
    } else {
      if (run >= CLIPPED_RUN) count += run;
      run = 0;
    }
  }
  return count;
}
