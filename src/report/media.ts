/** Sound and its picture as data that stands in a page, within a limit of bytes for all of them. */

import type { AudioClip } from "../data/audio/audio.ts";
import { convertAudio } from "../data/audio/convert.ts";
import { readAudio } from "../data/audio/read.ts";
import { spectrogramPng } from "../data/audio/spectrogram.ts";
import { encodeAudio } from "../data/audio/write.ts";

export interface EmbeddedClip {
  /** `data:` addresses. */
  audio: string;
  picture: string;
  /** Seconds of the file; the clip may be shorter. */
  duration: number;
  isCut: boolean;
}

/** What is heard of a longer file, in seconds. */
const MAX_SECONDS = 30;
/** In kbit/s, of one channel. */
const BIT_RATE = 64;
const MP3_SAMPLE_RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000];

/** Embeds files in the order in which they come, until one would make their text longer than `limit` bytes. */
export class ClipStore {
  private readonly limit: number;
  private readonly clips = new Map<string, EmbeddedClip>();
  private used = 0;
  private isFull = false;
  /** Files that were left out for the limit. */
  readonly leftOut = new Set<string>();

  constructor(limit: number) {
    this.limit = limit;
  }

  /** A file that cannot be read is not there afterwards. */
  async add(path: string): Promise<void> {
    if (this.isFull) {
      this.leftOut.add(path);
      return;
    }
    const clip = await embed(path);
    if (clip === null) return;
    const size = clip.audio.length + clip.picture.length;
    this.isFull = this.used + size > this.limit;
    if (this.isFull) {
      this.leftOut.add(path);
      return;
    }
    this.used += size;
    this.clips.set(path, clip);
  }

  get(path: string): EmbeddedClip | undefined {
    return this.clips.get(path);
  }
}

async function embed(path: string): Promise<EmbeddedClip | null> {
  let clip: AudioClip;
  try {
    clip = await readAudio(path);
  } catch {
    return null; // gone, or being written
  }
  const { samples, sampleRate } = clip;
  if (!(samples[0]?.length > 0)) return null;
  const frames = MAX_SECONDS * sampleRate;
  const isCut = samples[0].length > frames;
  const cut = isCut ? { samples: samples.map((channel) => channel.slice(0, frames)), sampleRate } : clip;
  const mp3 = await encodeAudio(forMp3(cut), "mp3", { mp3Rate: BIT_RATE * Math.min(2, samples.length) });
  return {
    audio: dataAddress("audio/mpeg", mp3),
    picture: dataAddress("image/png", spectrogramPng(cut, { height: 128 })),
    duration: samples[0].length / sampleRate,
    isCut,
  };
}

/** At a rate and with channels that MP3 has. */
function forMp3(clip: AudioClip): AudioClip {
  const channels = Math.min(2, clip.samples.length) as 1 | 2;
  const sampleRate = MP3_SAMPLE_RATES.includes(clip.sampleRate) ? clip.sampleRate : 44100;
  if (channels === clip.samples.length && sampleRate === clip.sampleRate) return clip;
  return convertAudio(clip, { sampleRate, channels });
}

function dataAddress(type: string, bytes: Uint8Array): string {
  return `data:${type};base64,${Buffer.from(bytes).toString("base64")}`;
}
