/** Mixing of sounds at random signal-to-noise ratios (AudioGen, arXiv 2209.15352, section 3.3; levels are AudioCraft's). */
import type { TorchGenerator } from "../random/mt19937.ts";

export interface MixOptions {
  /** Signal-to-noise ratios in dB: integers from low to high, high excluded (unless it is low). */
  mixSnrLow: number;
  mixSnrHigh: number;
  /** Least share of the first sound that the second one covers. */
  mixMinOverlap: number;
}

/** dBFS of both sounds before they are mixed, and the range of the mixture's (integers, the end excluded). */
const SOUND_LEVEL = -25;
const MIXTURE_LEVELS = [-35, -15];
const MAX_AMPLITUDE = 0.99;
const EPSILON = 2 ** -52;

/**
 * Mixes each row of `added` into the same row of `waves`, both [B, T]. Ratio, start and level are drawn once, for the whole
 * batch; the start, in samples, is returned. `added` is scaled in place.
 */
export function mixWaves(
  waves: Float32Array,
  added: Float32Array,
  frames: number,
  options: MixOptions,
  random: TorchGenerator,
): number {
  const { mixSnrLow: low, mixSnrHigh: high, mixMinOverlap } = options;
  const snr = low + random.randint(Math.max(1, Math.ceil(high - low)));
  const start = random.randint(Math.floor(frames * (1 - mixMinOverlap)) + 1);
  const level = MIXTURE_LEVELS[0] + random.randint(MIXTURE_LEVELS[1] - MIXTURE_LEVELS[0]);
  for (let row = 0; row < waves.length; row += frames) {
    const wave = waves.subarray(row, row + frames);
    const other = added.subarray(row, row + frames);
    scaleTo(wave, SOUND_LEVEL);
    scaleTo(other, SOUND_LEVEL - snr);
    for (let t = start; t < frames; t++) wave[t] += other[t - start];
    scaleTo(wave, level);
    limit(wave);
  }
  return start;
}

/** Scales to a root mean square of `level` dBFS; silence stays silence. */
function scaleTo(wave: Float32Array, level: number): void {
  let sum = 0;
  for (let t = 0; t < wave.length; t++) sum += wave[t] * wave[t];
  scale(wave, 10 ** (level / 20) / (Math.sqrt(sum / wave.length) + EPSILON));
}

/** A wave that would clip is made quieter, as a whole. */
function limit(wave: Float32Array): void {
  let peak = 0;
  for (let t = 0; t < wave.length; t++) peak = Math.max(peak, Math.abs(wave[t]));
  if (peak > MAX_AMPLITUDE) scale(wave, MAX_AMPLITUDE / peak);
}

function scale(wave: Float32Array, factor: number): void {
  for (let t = 0; t < wave.length; t++) wave[t] *= factor;
}
