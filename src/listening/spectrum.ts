/** Short-time magnitude spectra of a mono signal, and the peaks in them. */
import FFT from "fft.js";

export interface SpectrumOptions {
  /** Samples of a window (a power of two), and from one window's start to the next. */
  window: number;
  hop: number;
  sampleRate: number;
}

/** A sinusoid in a frame. */
export interface Peak {
  /** Hz. */
  frequency: number;
  magnitude: number;
}

/** Hann-windowed magnitudes, `window / 2` bins a frame; the last frames are filled up with silence. */
export function* spectra(samples: Float32Array, { window, hop }: SpectrumOptions): Generator<Float64Array> {
  const fft = new FFT(window);
  const shape = Float64Array.from(
    { length: window },
    (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / window),
  );
  const input = new Array<number>(window);
  const output = fft.createComplexArray();
  for (let start = 0; start < samples.length; start += hop) {
    for (let i = 0; i < window; i++) input[i] = (samples[start + i] ?? 0) * shape[i];
    fft.realTransform(output, input);
    yield Float64Array.from({ length: window / 2 }, (_, k) => Math.hypot(output[2 * k], output[2 * k + 1]));
  }
}

/** The local maxima between two frequencies in Hz, their places refined by a parabola through three bins. */
export function peaks(
  magnitudes: Float64Array,
  { window, sampleRate }: SpectrumOptions,
  from: number,
  to: number,
): Peak[] {
  const found: Peak[] = [];
  const hertz = sampleRate / window;
  for (let k = Math.max(1, Math.ceil(from / hertz)); k < Math.min(magnitudes.length - 1, to / hertz); k++) {
    const [left, middle, right] = [magnitudes[k - 1], magnitudes[k], magnitudes[k + 1]];
    if (middle <= left || middle < right) continue;
    const shift = (right - left) / (2 * (2 * middle - left - right) + 1e-12);
    found.push({ frequency: (k + shift) * hertz, magnitude: middle });
  }
  return found;
}

/** The largest of the local maxima between two frequencies in Hz; of frequency and magnitude 0 when there is none. */
export function strongestPeak(
  magnitudes: Float64Array,
  options: SpectrumOptions,
  from: number,
  to: number,
): Peak {
  return peaks(magnitudes, options, from, to).reduce(
    (best, peak) => (peak.magnitude > best.magnitude ? peak : best),
    { frequency: 0, magnitude: 0 },
  );
}

/** MIDI number of a frequency, with its fraction: 69 is 440 Hz. */
export function midiOf(frequency: number): number {
  return 69 + 12 * Math.log2(frequency / 440);
}
