/**
 * CLAP's front end: audio -> log-mel spectrogram, on the host, in double precision (ClapFeatureExtractor of transformers
 * for models without fusion, which is also laion_clap's).
 */
import FFT from "fft.js";
import { UserError } from "../../errors.ts";

export interface LogMelOptions {
  sampleRate: number;
  melBins: number;
  fftSize: number;
  hopLength: number;
  minFrequency: number;
  maxFrequency: number;
  /** Length that all audio is brought to. */
  maxSamples: number;
  /** How shorter audio is: repeated as often as it fits whole and padded with zeros, repeated and cut, or padded. */
  padding: "repeatpad" | "repeat" | "pad";
}

/** What laion_clap's models were trained with. */
export const LOG_MEL_DEFAULTS: LogMelOptions = {
  sampleRate: 48000,
  melBins: 64,
  fftSize: 1024,
  hopLength: 480,
  minFrequency: 50,
  maxFrequency: 14000,
  maxSamples: 480000,
  padding: "repeatpad",
};

/**
 * Reads a preprocessor_config.json (parsed). Absent keys have the values that they have there.
 * @param path where it came from, for messages
 */
export function parseLogMelOptions(json: unknown, path: string): LogMelOptions {
  const config = (typeof json === "object" && json !== null ? json : {}) as Record<string, unknown>;
  const number = (key: string, absent: number): number => {
    const value = config[key] ?? absent;
    if (typeof value === "number" && value >= 0) return value;
    throw new UserError(`${path}: ${key} must be a number, got ${JSON.stringify(value)}`);
  };
  const padding = config.padding ?? "repeatpad";
  if (padding !== "repeatpad" && padding !== "repeat" && padding !== "pad") {
    throw new UserError(
      `${path}: padding ${JSON.stringify(padding)} is unknown; use repeatpad, repeat or pad`,
    );
  }
  const sampleRate = number("sampling_rate", 48000);
  return {
    sampleRate,
    melBins: number("feature_size", 64),
    fftSize: number("fft_window_size", 1024),
    hopLength: number("hop_length", 480),
    minFrequency: number("frequency_min", 0),
    maxFrequency: number("frequency_max", 14000),
    maxSamples: number("nb_max_samples", number("max_length_s", 10) * sampleRate),
    padding,
  };
}

export class LogMel {
  readonly options: LogMelOptions;
  private readonly fft: FFT;
  private readonly window: Float64Array;
  private readonly filters: MelFilter[];

  constructor(options: LogMelOptions) {
    this.options = options;
    const { fftSize } = options;
    this.fft = new FFT(fftSize);
    this.window = Float64Array.from({ length: fftSize }, (_, n) => {
      return 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / fftSize);
    });
    this.filters = slaneyFilters(options);
  }

  /** Frames of every spectrogram. */
  get frames(): number {
    return Math.floor(this.options.maxSamples / this.options.hopLength) + 1;
  }

  /** mono samples, at most `maxSamples` -> dB [frames * melBins] */
  spectrogram(samples: Float32Array): Float32Array {
    const { fftSize, hopLength, melBins } = this.options;
    const padded = reflected(this.filled(samples), fftSize / 2);
    const frame = new Array<number>(fftSize);
    const spectrum = this.fft.createComplexArray();
    const power = new Float64Array(fftSize / 2 + 1);
    const decibels = new Float32Array(this.frames * melBins);
    for (let i = 0; i < this.frames; i++) {
      for (let n = 0; n < fftSize; n++) frame[n] = padded[i * hopLength + n] * this.window[n];
      this.fft.realTransform(spectrum, frame);
      for (let k = 0; k < power.length; k++) power[k] = spectrum[2 * k] ** 2 + spectrum[2 * k + 1] ** 2;
      for (const [m, { first, weights }] of this.filters.entries()) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k] * power[first + k];
        decibels[i * melBins + m] = 10 * Math.log10(Math.max(sum, 1e-10));
      }
    }
    return decibels;
  }

  /** The samples at the length of all audio. */
  private filled(samples: Float32Array): Float32Array {
    const { maxSamples, padding } = this.options;
    const { length } = samples;
    if (length > maxSamples)
      throw new Error(`CLAP hears at most ${maxSamples} samples at once, got ${length}`);
    const all = new Float32Array(maxSamples);
    if (length === 0) return all;
    const whole = Math.floor(maxSamples / length);
    const copies = padding === "pad" ? 1 : padding === "repeat" ? whole + 1 : whole;
    for (let i = 0; i < copies; i++) {
      all.set(samples.subarray(0, Math.min(length, maxSamples - i * length)), i * length);
    }
    return all;
  }
}

/** `margin` samples mirrored at both ends, the edges not repeated. */
function reflected(samples: Float32Array, margin: number): Float32Array {
  const { length } = samples;
  const all = new Float32Array(length + 2 * margin);
  all.set(samples, margin);
  for (let i = 1; i <= margin; i++) {
    all[margin - i] = samples[i];
    all[margin + length - 1 + i] = samples[length - 1 - i];
  }
  return all;
}

/** Weights of the bins of the spectrum from `first` on. */
interface MelFilter {
  first: number;
  weights: Float64Array;
}

/** Triangles of equal area between mel frequencies, by Slaney's scale (librosa's default). */
function slaneyFilters({
  sampleRate,
  melBins,
  fftSize,
  minFrequency,
  maxFrequency,
}: LogMelOptions): MelFilter[] {
  const [low, high] = [hertzToMel(minFrequency), hertzToMel(maxFrequency)];
  const edges = Array.from({ length: melBins + 2 }, (_, i) => {
    return melToHertz(low + ((high - low) * i) / (melBins + 1));
  });
  const bins = fftSize / 2 + 1;
  const hertz = Array.from({ length: bins }, (_, k) => ((sampleRate / 2) * k) / (bins - 1));
  return Array.from({ length: melBins }, (_, m) => {
    const [left, centre, right] = edges.slice(m, m + 3);
    const inside = hertz.flatMap((f, k) => (f > left && f < right ? [k] : []));
    const weights = inside.map((k) => {
      const slope = Math.min((hertz[k] - left) / (centre - left), (right - hertz[k]) / (right - centre));
      return (slope * 2) / (right - left);
    });
    return { first: inside[0] ?? 0, weights: Float64Array.from(weights) };
  });
}

/** Slaney's scale: linear up to 1000 Hz, at 15 mel; from there 27 mel are a factor of 6.4. */
function hertzToMel(hertz: number): number {
  return hertz < 1000 ? (3 * hertz) / 200 : 15 + (Math.log(hertz / 1000) * 27) / Math.log(6.4);
}

function melToHertz(mel: number): number {
  return mel < 15 ? (200 * mel) / 3 : 1000 * Math.exp(((mel - 15) * Math.log(6.4)) / 27);
}
