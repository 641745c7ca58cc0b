/** What is done to a whole track, in place: echo, reverb, removal of the mean, levelling. */

/** Feedback delay: repeats `seconds` apart, each 0.45 times as loud as the one before. */
export function addEcho(samples: Float32Array, seconds: number, sampleRate: number): void {
  const delay = Math.round(seconds * sampleRate);
  for (let i = delay; i < samples.length; i++) samples[i] += 0.45 * samples[i - delay];
}

/** Delays of Schroeder's reverberator (1962): four parallel combs, then two all-passes. Seconds. */
const COMB_DELAYS = [0.0297, 0.0371, 0.0411, 0.0437];
const ALL_PASS_DELAYS = [0.005, 0.0017];
const REVERB_SECONDS = 1.4;

/** Adds a hall that falls by 60 dB in 1.4 s. `spread` scales the delays, so that two channels differ. */
export function addReverb(samples: Float32Array, sampleRate: number, spread = 1): void {
  const wet = new Float32Array(samples.length);
  for (const seconds of COMB_DELAYS) comb(samples, wet, seconds * spread, sampleRate);
  for (const seconds of ALL_PASS_DELAYS) allPass(wet, Math.round(seconds * spread * sampleRate));
  for (let i = 0; i < samples.length; i++) samples[i] += 0.22 * wet[i];
}

/** Feedback comb with a low-pass in its loop, so that highs die sooner, as in a room; added to `out`. */
function comb(input: Float32Array, out: Float32Array, seconds: number, sampleRate: number): void {
  const delay = Math.round(seconds * sampleRate);
  const gain = 10 ** ((-3 * seconds) / REVERB_SECONDS);
  const line = new Float64Array(delay);
  let low = 0;
  for (let i = 0, at = 0; i < input.length; i++, at = at + 1 === delay ? 0 : at + 1) {
    const y = line[at];
    low = 0.75 * y + 0.25 * low;
    line[at] = input[i] + gain * low;
    out[i] += y;
  }
}

function allPass(samples: Float32Array, delay: number): void {
  const gain = 0.7;
  const line = new Float64Array(delay);
  for (let i = 0, at = 0; i < samples.length; i++, at = at + 1 === delay ? 0 : at + 1) {
    const delayed = line[at];
    const v = samples[i] + gain * delayed;
    line[at] = v;
    samples[i] = delayed - gain * v;
  }
}

/** One-pole high-pass at 25 Hz: takes away a constant offset and leaves the music. */
export function removeOffset(samples: Float32Array, sampleRate: number): void {
  const keep = Math.exp((-2 * Math.PI * 25) / sampleRate);
  let previous = 0;
  let y = 0;
  for (let i = 0; i < samples.length; i++) {
    y = keep * (y + samples[i] - previous);
    previous = samples[i];
    samples[i] = y;
  }
}

/** Linear fade to zero over the last `seconds`. */
export function fadeOut(samples: Float32Array, seconds: number, sampleRate: number): void {
  const length = Math.min(samples.length, Math.round(seconds * sampleRate));
  for (let i = 0; i < length; i++) samples[samples.length - 1 - i] *= i / length;
}

/**
 * Scales all channels alike to an RMS of `rmsDb`, or less where peaks would rise more than 6 dB above `peakDb`; what is
 * still above is bent back below it. So plucked and dense sounds are about equally loud. Levels in dB of full scale.
 */
export function level(channels: Float32Array[], peakDb: number, rmsDb: number): void {
  const ceiling = 10 ** (peakDb / 20);
  const peak = Math.max(...channels.map(peakOf), 1e-9);
  const power = channels.reduce((sum, samples) => sum + meanSquare(samples), 0) / channels.length;
  const gain = Math.min((2 * ceiling) / peak, 10 ** (rmsDb / 20) / Math.sqrt(power + 1e-18));
  for (const samples of channels) {
    scale(samples, gain);
    limit(samples, ceiling);
  }
}

/** Leaves samples up to half the ceiling as they are and bends larger ones smoothly below it. */
function limit(samples: Float32Array, ceiling: number): void {
  const knee = ceiling / 2;
  for (let i = 0; i < samples.length; i++) {
    const over = Math.abs(samples[i]) - knee;
    if (over > 0)
      samples[i] = Math.sign(samples[i]) * (knee + (ceiling - knee) * Math.tanh(over / (ceiling - knee)));
  }
}

/** Multiplies every sample. */
export function scale(samples: Float32Array, gain: number): void {
  for (let i = 0; i < samples.length; i++) samples[i] *= gain;
}

/** Largest absolute sample. */
export function peakOf(samples: Float32Array): number {
  let peak = 0;
  for (let i = 0; i < samples.length; i++) {
    const size = Math.abs(samples[i]);
    if (size > peak) peak = size;
  }
  return peak;
}

/** Mean power of the samples. */
export function meanSquare(samples: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < samples.length; i++) sum += samples[i] * samples[i];
  return sum / samples.length;
}
