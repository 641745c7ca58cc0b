/** What VGGish (arXiv 1609.09430) hears: log-mel spectrograms of 0.96 s, one after the other, of mono audio at 16 kHz. */
import FFT from "fft.js";

export const VGGISH_RATE = 16000;
/** Frames of an example, and bands of a frame. */
export const VGGISH_SHAPE = [96, 64] as const;

const WINDOW = 400;
const HOP = 160;
const FFT_SIZE = 512;
const MIN_FREQUENCY = 125;
const MAX_FREQUENCY = 7500;
/** Added to magnitudes before the logarithm. */
const OFFSET = 0.01;

/** Samples of the shortest clip that makes an example. */
const EXAMPLE_SAMPLES = (VGGISH_SHAPE[0] - 1) * HOP + WINDOW;

/** Mono samples at 16 kHz -> examples [96 * 64]; what is left is dropped, what is shorter than one is filled up with zeros. */
export function vggishExamples(wav: Float32Array): Float32Array[] {
  const [frames, bands] = VGGISH_SHAPE;
  const samples = Math.max(wav.length, EXAMPLE_SAMPLES);
  const count = Math.floor((1 + Math.floor((samples - WINDOW) / HOP)) / frames);
  const fft = new FFT(FFT_SIZE);
  const spectrum = fft.createComplexArray();
  const frame = new Array<number>(FFT_SIZE);
  const magnitudes = new Float64Array(FFT_SIZE / 2 + 1);
  return Array.from({ length: count }, (_, example) => {
    const mel = new Float32Array(frames * bands);
    for (let i = 0; i < frames; i++) {
      const start = (example * frames + i) * HOP;
      frame.fill(0);
      for (let n = 0; n < WINDOW; n++) frame[n] = (wav[start + n] ?? 0) * window[n];
      fft.realTransform(spectrum, frame);
      for (let k = 0; k < magnitudes.length; k++) {
        magnitudes[k] = Math.hypot(spectrum[2 * k], spectrum[2 * k + 1]);
      }
      for (const [band, weights] of filters.entries()) {
        const sum = weights.reduce((total, weight, k) => total + weight * magnitudes[k], 0);
        mel[i * bands + band] = Math.log(sum + OFFSET);
      }
    }
    return mel;
  });
}

/** A periodic Hann window. */
const window = Float64Array.from(
  { length: WINDOW },
  (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW),
);

/** HTK's mel scale. */
const toMel = (hertz: number) => 1127 * Math.log(1 + hertz / 700);

/** Per band the weights of the spectrum's bins: triangles on the mel scale, of height 1, without the bin of frequency 0. */
const filters: Float64Array[] = Array.from({ length: VGGISH_SHAPE[1] }, (_, band) => {
  const [low, high] = [toMel(MIN_FREQUENCY), toMel(MAX_FREQUENCY)];
  const width = (high - low) / (VGGISH_SHAPE[1] + 1);
  const centre = low + (band + 1) * width;
  return Float64Array.from({ length: FFT_SIZE / 2 + 1 }, (_, k) => {
    const distance = Math.abs(toMel((k * VGGISH_RATE) / FFT_SIZE) - centre);
    return k === 0 ? 0 : Math.max(0, 1 - distance / width);
  });
});
