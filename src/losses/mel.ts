/** Distances of mel spectrograms (reference, section 4.9): at one resolution, and at several (msspec). */
import { UserError } from "../errors.ts";
import { padTime } from "../models/encodec/padding.ts";
import { hannWindow, stft } from "../nn/stft.ts";
import { type Tensor, tf, Variable } from "../runtime/index.ts";
import { l1, l2 } from "./distance.ts";

export interface MelOptions {
  sampleRate: number;
  /** Samples of a window and between windows. */
  nFft: number;
  hopLength: number;
  winLength: number;
  nMels: number;
  /** Hz; null: half the sample rate. */
  fMin: number;
  fMax: number | null;
  /** Divides spectra by the 2-norm of the window. */
  normalized: boolean;
  /** What is added before the logarithm. */
  floorLevel: number;
}

/** Mel power spectrogram with a frame per `hopLength` samples, the last one full. */
export class MelSpectrogram {
  /** Triangles over the bins, [nFft / 2 + 1, nMels] */
  readonly filterbank: Variable;
  private readonly window: Variable;
  private readonly options: MelOptions;

  constructor(options: MelOptions) {
    const { nFft, winLength, nMels } = options;
    const bins = nFft / 2 + 1;
    const window = hannWindow(winLength, nFft);
    const energy = window.reduce((sum, w) => sum + w * w, 0);
    const scaled = options.normalized ? window.map((w) => w / Math.sqrt(energy)) : window;
    this.options = options;
    this.window = new Variable([nFft], () => scaled);
    this.filterbank = new Variable([bins, nMels], () => melFilterbank(options));
  }

  /** wav [B, C, T] -> power [B * C, frames, nMels], frames = ceil(T / hopLength) */
  forward(wav: Tensor): Tensor {
    const { nFft, hopLength } = this.options;
    const [batch, channels, length] = wav.shape;
    const edge = Math.floor((nFft - hopLength) / 2);
    const mirrored = padTime(wav.reshape([batch * channels, length, 1]), edge, edge, "reflect");
    const windows = Math.ceil((mirrored.shape[1]! - nFft) / hopLength) + 1;
    const missing = (windows - 1) * hopLength + nFft - mirrored.shape[1]!;
    const padded = padTime(mirrored, 0, missing, "constant").squeeze([2]);
    const { real, imaginary } = stft(padded, this.window.value, hopLength);
    const power = tf.add(tf.square(real), tf.square(imaginary)) as Tensor;
    const bins = nFft / 2 + 1;
    const bands = tf.matMul(power.reshape([-1, bins]) as never, this.filterbank.value as never) as Tensor;
    return bands.reshape([batch * channels, windows, this.options.nMels]);
  }

  /** log10 of a power spectrogram, with the floor. */
  logarithm(power: Tensor): Tensor {
    return tf.mul(tf.log(tf.add(power, this.options.floorLevel)), 1 / Math.LN10);
  }
}

/** Mean absolute difference of the log mel spectrograms of two waves [B, C, T]. */
export class MelSpectrogramL1 {
  private readonly mel: MelSpectrogram;
  private readonly log: boolean;

  /** Without `log`, of the power spectrograms themselves. */
  constructor(options: MelOptions, log = true) {
    this.mel = new MelSpectrogram(options);
    this.log = log;
  }

  forward(predicted: Tensor, target: Tensor): Tensor {
    const [ours, theirs] = [predicted, target].map((wav) => {
      const power = this.mel.forward(wav);
      return this.log ? this.mel.logarithm(power) : power;
    });
    return l1(ours, theirs);
  }
}

export interface MultiScaleMelOptions
  extends Pick<MelOptions, "sampleRate" | "nMels" | "fMin" | "fMax" | "normalized" | "floorLevel"> {
  /** Windows of 2^i samples, rangeStart <= i < rangeEnd, a quarter of a window apart. */
  rangeStart: number;
  rangeEnd: number;
  /** Weighs the log term of a scale by sqrt(2^i - 1) instead of 1. */
  alphas: boolean;
}

/**
 * Over the scales: mean |difference| of mel powers + alpha mean (difference of their log10)^2; with `normalized`, divided by
 * the sum of the weights.
 */
export class MultiScaleMelSpectrogram {
  private readonly scales: { mel: MelSpectrogram; alpha: number }[];
  private readonly divisor: number;

  constructor({ rangeStart, rangeEnd, alphas, ...options }: MultiScaleMelOptions) {
    if (!(rangeStart < rangeEnd)) {
      throw new UserError(`msspec: range_end=${rangeEnd} must be greater than range_start=${rangeStart}.`);
    }
    this.scales = Array.from({ length: rangeEnd - rangeStart }, (_, i) => {
      const nFft = 2 ** (rangeStart + i);
      const mel = new MelSpectrogram({ ...options, nFft, hopLength: nFft / 4, winLength: nFft });
      return { mel, alpha: alphas ? Math.sqrt(nFft - 1) : 1 };
    });
    const total = this.scales.reduce((sum, { alpha }) => sum + alpha + 1, 0);
    this.divisor = options.normalized ? total : 1;
  }

  forward(predicted: Tensor, target: Tensor): Tensor {
    const terms = this.scales.map(({ mel, alpha }) => {
      const [ours, theirs] = [mel.forward(predicted), mel.forward(target)];
      const logs = l2(mel.logarithm(ours), mel.logarithm(theirs));
      return tf.add(l1(ours, theirs), tf.mul(logs, alpha)) as Tensor;
    });
    return tf.div(tf.addN(terms), this.divisor);
  }
}

/**
 * Triangles of height 1 at equal distances on the HTK mel scale, 2595 log10(1 + f / 700), row by row [bins, nMels]. Computed
 * in float32 as PyTorch computes it, because the slopes of narrow triangles enlarge the rounding of frequencies.
 */
export function melFilterbank({ sampleRate, nFft, nMels, fMin, fMax }: MelOptions): Float32Array {
  const round = Math.fround;
  const bins = nFft / 2 + 1;
  const mel = (f: number) => 2595 * Math.log10(1 + f / 700);
  const frequencies = linspace(0, Math.floor(sampleRate / 2), bins);
  const edges = linspace(mel(fMin), mel(fMax ?? Math.floor(sampleRate / 2)), nMels + 2).map(
    (m) => 700 * round(round(10 ** round(m / 2595)) - 1),
  );
  const bank = new Float32Array(bins * nMels);
  for (let band = 0; band < nMels; band++) {
    const [left, centre, right] = edges.slice(band, band + 3);
    for (let k = 0; k < bins; k++) {
      const rise = round(round(frequencies[k] - left) / round(centre - left));
      const fall = round(round(right - frequencies[k]) / round(right - centre));
      bank[k * nMels + band] = Math.max(0, Math.min(rise, fall));
    }
  }
  return bank;
}

/** PyTorch's: counted from the nearer end, in float32, the product not rounded before it is added. */
function linspace(first: number, last: number, count: number): Float32Array {
  const [start, end] = [Math.fround(first), Math.fround(last)];
  const step = Math.fround(Math.fround(end - start) / (count - 1));
  return Float32Array.from({ length: count }, (_, i) =>
    i < Math.floor(count / 2) ? start + step * i : end - step * (count - 1 - i),
  );
}
