/** Level normalisation strategies: peak, clip, rms and loudness. */
import { mean } from "./channels.ts";
import { integratedLoudness } from "./loudness.ts";

export interface NormalizeOptions {
  /** Scale up as well as down; false: only when it would reduce the level (peak and rms). Default true. */
  normalize?: boolean;
  strategy?: "peak" | "clip" | "rms" | "loudness" | "none" | "";
  peakClipHeadroomDb?: number;
  rmsHeadroomDb?: number;
  loudnessHeadroomDb?: number;
  /** Compress by tanh after the loudness gain. */
  loudnessCompressor?: boolean;
}

/** The options of a config's `generate.audio` section, under AudioCraft's keys. */
export function levelOptions(section: {
  strategy?: string;
  peak_clip_headroom_db?: number;
  rms_headroom_db?: number;
  loudness_headroom_db?: number;
  loudness_compressor?: boolean;
}): NormalizeOptions {
  return {
    strategy: section.strategy as NormalizeOptions["strategy"],
    peakClipHeadroomDb: section.peak_clip_headroom_db,
    rmsHeadroomDb: section.rms_headroom_db,
    loudnessHeadroomDb: section.loudness_headroom_db,
    loudnessCompressor: section.loudness_compressor,
  };
}

/** Signals of an RMS below this are not brought to a loudness: it would only raise noise. */
const ENERGY_FLOOR = 2e-3;

/** Normalised copy of planar samples. Defaults: peak with 1 dB headroom, rms 18 dB, loudness 14 dB (LUFS below 0). */
export function normalizeAudio(
  samples: Float32Array[],
  sampleRate: number,
  options: NormalizeOptions = {},
): Float32Array[] {
  const { normalize = true, strategy = "peak" } = options;
  const { peakClipHeadroomDb = 1, rmsHeadroomDb = 18, loudnessHeadroomDb = 14 } = options;
  if (strategy === "peak") {
    const gain = ratio(decibels(-peakClipHeadroomDb), peak(samples));
    return normalize || gain < 1 ? scale(samples, gain) : copy(samples);
  }
  if (strategy === "clip") return clamp(samples, decibels(-peakClipHeadroomDb));
  if (strategy === "rms") {
    const gain = ratio(decibels(-rmsHeadroomDb), rms([mean(samples)]));
    return clamp(normalize || gain < 1 ? scale(samples, gain) : samples, 1);
  }
  if (strategy === "loudness") {
    if (rms(samples) < ENERGY_FLOOR) return clamp(samples, 1);
    const loudness = integratedLoudness(atLeast(LOUDNESS_SECONDS * sampleRate, samples), sampleRate);
    if (Number.isNaN(loudness)) return clamp(samples, 1); // only what cannot be heard, below every gate
    const gain = decibels(-loudnessHeadroomDb - loudness);
    const scaled = scale(samples, gain);
    return clamp(options.loudnessCompressor ? scaled.map((channel) => channel.map(Math.tanh)) : scaled, 1);
  }
  if (peak(samples) >= 1)
    throw new RangeError("without normalisation, samples must stay below 1 in magnitude");
  return copy(samples);
}

/** Loudness is defined for so many seconds and more. */
const LOUDNESS_SECONDS = 0.4;

/** The samples, repeated until they are `length` long: a short sound is as loud as that. */
function atLeast(length: number, samples: Float32Array[]): Float32Array[] {
  const own = samples[0].length;
  if (own === 0 || own >= Math.round(length)) return samples;
  return samples.map((channel) =>
    Float32Array.from({ length: Math.ceil(length) }, (_, i) => channel[i % own]),
  );
}

const decibels = (db: number) => 10 ** (db / 20);
/** Silence keeps gain 1: it has no level to bring anywhere. */
const ratio = (wanted: number, level: number) => (level > 0 ? wanted / level : 1);
const copy = (samples: Float32Array[]) => samples.map((channel) => channel.slice());
const scale = (samples: Float32Array[], gain: number) =>
  samples.map((channel) => channel.map((x) => x * gain));
const clamp = (samples: Float32Array[], limit: number) =>
  samples.map((channel) => channel.map((x) => Math.max(-limit, Math.min(limit, x))));

/** Largest magnitude over all channels. */
export function peak(samples: Float32Array[]): number {
  let top = 0;
  for (const channel of samples)
    for (let i = 0; i < channel.length; i++) top = Math.max(top, Math.abs(channel[i]));
  return top;
}

/** Root mean square over all channels. */
export function rms(samples: Float32Array[]): number {
  let sum = 0;
  let count = 0;
  for (const channel of samples) {
    for (let i = 0; i < channel.length; i++) sum += channel[i] * channel[i];
    count += channel.length;
  }
  return Math.sqrt(sum / count);
}
