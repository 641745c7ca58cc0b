/** Acoustic fingerprints: 32 bits for each 46 ms, which re-encoding hardly changes (Haitsma & Kalker, ISMIR 2002). */
import FFT from "fft.js";

/** Seconds of a file that are fingerprinted, from its beginning. */
export const FINGERPRINT_SECONDS = 30;
const FRAME_SECONDS = 0.37;
const HOP_SECONDS = 0.0464;
const FFT_SIZE = 2048;
/** About the rate to which audio is brought before; bands lie below 2 kHz. */
const COARSE_RATE = 5000;
const BANDS = 33;
const LOWEST_HZ = 300;
const HIGHEST_HZ = 2000;
/** Frames more quiet than this (root mean square) have no fingerprint. */
const QUIET = 1e-3;

/**
 * The fingerprint of mono samples: a word for each frame from the second on. Bit b: whether the difference between the energies
 * of bands b and b + 1 grew since the frame before. 0: nothing to be heard there.
 */
export function fingerprint(samples: Float32Array, sampleRate: number): Uint32Array<ArrayBuffer> {
  const { wave, rate } = coarsen(samples, sampleRate);
  const length = Math.min(FFT_SIZE, Math.floor(FRAME_SECONDS * rate));
  const count = Math.max(0, Math.floor((wave.length - length) / rate / HOP_SECONDS) + 1);
  const spectrum = powerSpectrum(length);
  const edges = Array.from({ length: BANDS + 1 }, (_, i) =>
    Math.round(((LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** (i / BANDS)) / rate) * FFT_SIZE),
  );
  const words = new Uint32Array(Math.max(0, count - 1));
  let previous: Float64Array | undefined;
  for (let n = 0; n < count; n++) {
    const start = Math.round(n * HOP_SECONDS * rate);
    const frame = wave.subarray(start, start + length);
    const bands = rootMeanSquare(frame) < QUIET ? undefined : bandEnergies(spectrum(frame), edges);
    if (n > 0 && bands && previous) words[n - 1] = compare(bands, previous);
    previous = bands;
  }
  return words;
}

function compare(bands: Float64Array, previous: Float64Array): number {
  let word = 0;
  for (let b = 0; b < BANDS - 1; b++)
    if (bands[b] - bands[b + 1] > previous[b] - previous[b + 1]) word |= 1 << b;
  return word >>> 0;
}

/** Means of whole numbers of samples. */
function coarsen(samples: Float32Array, sampleRate: number): { wave: Float32Array; rate: number } {
  const step = Math.max(1, Math.round(sampleRate / COARSE_RATE));
  const wave = new Float32Array(Math.floor(samples.length / step));
  for (let i = 0; i < wave.length; i++) {
    let sum = 0;
    for (let j = i * step; j < (i + 1) * step; j++) sum += samples[j];
    wave[i] = sum / step;
  }
  return { wave, rate: sampleRate / step };
}

/** Power spectra of frames of this length under a Hann window. */
function powerSpectrum(length: number): (frame: Float32Array) => Float64Array {
  const fft = new FFT(FFT_SIZE);
  const window = Float64Array.from({ length }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / length));
  const input = new Array<number>(FFT_SIZE).fill(0);
  const output = fft.createComplexArray();
  return (frame) => {
    for (let i = 0; i < length; i++) input[i] = window[i] * frame[i];
    fft.realTransform(output, input);
    return Float64Array.from({ length: FFT_SIZE / 2 }, (_, i) => output[2 * i] ** 2 + output[2 * i + 1] ** 2);
  };
}

function bandEnergies(power: Float64Array, edges: number[]): Float64Array {
  return Float64Array.from({ length: BANDS }, (_, b) => {
    let sum = 0;
    for (let i = edges[b]; i < Math.max(edges[b] + 1, edges[b + 1]); i++) sum += power[i] ?? 0;
    return sum;
  });
}

function rootMeanSquare(frame: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < frame.length; i++) sum += frame[i] * frame[i];
  return Math.sqrt(sum / frame.length);
}
