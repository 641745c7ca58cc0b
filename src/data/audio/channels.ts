/** Channel conversion with AudioCraft's rules. */
import { floats, type Scratch } from "./scratch.ts";

/**
 * Planar samples -> `channels` planar channels: to mono is the mean, mono is replicated, more to fewer keeps the first ones.
 * Throws RangeError when there are fewer channels than asked and more than one. The arrays may be
 * shared with the input, or be in the memory of `scratch`.
 */
export function convertChannels(
  samples: Float32Array[],
  channels: number,
  scratch?: Scratch,
): Float32Array[] {
  if (samples.length === channels) return samples;
  if (channels === 1) return [mean(samples, scratch)];
  if (samples.length === 1) return Array.from({ length: channels }, () => samples[0]);
  if (samples.length > channels) return samples.slice(0, channels);
  throw new RangeError(`cannot make ${channels} channels out of ${samples.length}`);
}

/** Mean over channels, rounded to float32 like a float32 sum and division. */
export function mean(samples: Float32Array[], scratch?: Scratch): Float32Array {
  const out = floats(samples[0].length, scratch);
  if (samples.length === 2) {
    // By far the most frequent case, in one pass. Halving does not round.
    const [left, right] = samples;
    for (let i = 0; i < out.length; i++) out[i] = (left[i] + right[i]) / 2;
    return out;
  }
  out.set(samples[0]);
  for (const channel of samples.slice(1)) for (let i = 0; i < out.length; i++) out[i] += channel[i];
  for (let i = 0; i < out.length; i++) out[i] /= samples.length;
  return out;
}
