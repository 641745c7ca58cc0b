/** Channel conversion with AudioCraft's rules. */

/**
 * Planar samples -> `channels` planar channels: to mono is the mean, mono is replicated, more to fewer keeps the first ones.
 * Throws RangeError when there are fewer channels than asked and more than one. The arrays may be shared with the input.
 */
export function convertChannels(samples: Float32Array[], channels: number): Float32Array[] {
  if (samples.length === channels) return samples;
  if (channels === 1) return [mean(samples)];
  if (samples.length === 1) return Array.from({ length: channels }, () => samples[0]);
  if (samples.length > channels) return samples.slice(0, channels);
  throw new RangeError(`cannot make ${channels} channels out of ${samples.length}`);
}

/** Mean over channels, rounded to float32 like a float32 sum and division. */
export function mean(samples: Float32Array[]): Float32Array {
  const out = new Float32Array(samples[0].length);
  for (const channel of samples) for (let i = 0; i < out.length; i++) out[i] += channel[i];
  for (let i = 0; i < out.length; i++) out[i] /= samples.length;
  return out;
}
