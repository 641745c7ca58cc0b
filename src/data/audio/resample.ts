/**
 * Band-limited resampling by a windowed sinc, the `resample_frac` formula of julius (zeros 24, rolloff 0.945):
 * new/old reduced by their gcd, sr = min(old, new) * rolloff, one kernel per output phase i,
 *   k_i[j] = sinc(t) * cos^2(t / 48),  t = pi * clip((-i/new + j/old) * sr, -24, 24),  each divided by its sum,
 * over input padded by its edge values. The window ends at t = 24 pi, so only the taps inside it are kept.
 */

const ZEROS = 24;
const ROLLOFF = 0.945;
/** Output frames computed together. */
const BLOCK = 4;

/** Planar samples at `oldRate` -> planar samples at `newRate`, floor(new * length / old) per channel. */
export function resample(samples: Float32Array[], oldRate: number, newRate: number): Float32Array[] {
  if (oldRate === newRate) return samples;
  const kernel = polyphaseKernel(oldRate, newRate);
  return samples.map((channel) => apply(channel, kernel));
}

interface Polyphase {
  old: number;
  new: number;
  width: number;
  taps: number;
  /** [new, taps] */
  weights: Float32Array;
  /** Index of each phase's first tap, relative to the frame's start minus `width`. */
  first: Int32Array;
}

function apply(input: Float32Array, kernel: Polyphase): Float32Array {
  const { old, new: phases, width, taps, weights, first } = kernel;
  const length = Math.floor((phases * input.length) / old);
  const frames = Math.ceil(length / phases / BLOCK) * BLOCK;
  const padded = replicatePad(input, width, width + frames * old - input.length + taps + old);
  // Frames beyond `length` come out of padding; they are computed to keep the inner loop whole, and cut off.
  const out = new Float32Array(frames * phases);
  for (let phase = 0; phase < phases; phase++) {
    const row = weights.subarray(phase * taps, (phase + 1) * taps);
    // Four frames at a time share the loads of the weights, and their sums need not wait for each other.
    for (let frame = 0; frame < frames; frame += BLOCK) {
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      let x = frame * old + first[phase];
      for (let tap = 0; tap < taps; tap++, x++) {
        const w = row[tap];
        s0 += w * padded[x];
        s1 += w * padded[x + old];
        s2 += w * padded[x + 2 * old];
        s3 += w * padded[x + 3 * old];
      }
      const n = frame * phases + phase;
      out[n] = s0;
      out[n + phases] = s1;
      out[n + 2 * phases] = s2;
      out[n + 3 * phases] = s3;
    }
  }
  return out.slice(0, length);
}

function replicatePad(input: Float32Array, left: number, right: number): Float32Array {
  const padded = new Float32Array(left + input.length + right);
  padded.fill(input[0], 0, left);
  padded.set(input, left);
  padded.fill(input[input.length - 1], left + input.length);
  return padded;
}

const kernels = new Map<string, Polyphase>();

function polyphaseKernel(oldRate: number, newRate: number): Polyphase {
  const divisor = gcd(oldRate, newRate);
  const old = oldRate / divisor;
  const phases = newRate / divisor;
  const key = `${old}/${phases}`;
  const cached = kernels.get(key);
  if (cached) return cached;
  const rate = Math.min(old, phases) * ROLLOFF;
  const width = Math.ceil((ZEROS * old) / rate);
  const taps = Math.min(2 * width + 1, 2 * width + old);
  const weights = new Float32Array(phases * taps);
  const first = new Int32Array(phases);
  for (let phase = 0; phase < phases; phase++) {
    // Input position of this output sample, minus the window's half width.
    const start = Math.ceil((old * phase) / phases - (ZEROS * old) / rate);
    first[phase] = start + width;
    const row = new Float32Array(taps);
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) {
      row[tap] = windowedSinc(
        fround(fround(fround(-phase / phases) + fround((start + tap) / old)) * fround(rate)),
      );
      sum += row[tap];
    }
    for (let tap = 0; tap < taps; tap++) weights[phase * taps + tap] = fround(row[tap] / fround(sum));
  }
  const kernel = { old, new: phases, width, taps, weights, first };
  if (kernels.size >= 16) kernels.delete(kernels.keys().next().value as string);
  kernels.set(key, kernel);
  return kernel;
}

const { fround } = Math;

/** The kernel at t (without its factor pi), rounded to float32 at each step as julius does: that shows at 1e-5. */
function windowedSinc(t: number): number {
  if (Math.abs(t) >= ZEROS) return 0;
  const x = fround(t * fround(Math.PI));
  const window = fround(Math.cos(fround(fround(x / ZEROS) / 2)));
  return (x === 0 ? 1 : fround(fround(Math.sin(x)) / x)) * fround(window * window);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
