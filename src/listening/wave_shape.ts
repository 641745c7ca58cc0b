/** The wave shape of a clip's tones: by their second, third and fifth harmonics, beside those of clips whose shape is known. */
import { type SpectrumOptions, spectra, strongestPeak } from "./spectrum.ts";

export const WAVE_SHAPES = ["sine wave", "triangle wave", "square wave", "sawtooth wave"] as const;
export type WaveShape = (typeof WAVE_SHAPES)[number];

/** The wave shape that an instrument is; null for those that are none. */
export function waveShapeOf(instrument: string): WaveShape | null {
  return WAVE_SHAPES.find((shape) => shape === instrument) ?? null;
}

/** Levels of the second, third and fifth harmonic below the strongest partial, in dB. */
export type Harmonics = [second: number, third: number, fifth: number];

/**
 * Tells the four shapes apart (chance is one in four). A codec takes away part of the harmonics, the more the higher they are, so
 * that their levels are not those of the Fourier series: the judge learns them from examples that went through the same codec.
 */
export class WaveShapeJudge {
  private readonly classes: { shape: WaveShape; mean: Harmonics; variance: Harmonics }[];

  /** `examples`: harmonics of several clips of each shape. */
  constructor(examples: readonly { shape: WaveShape; harmonics: Harmonics }[]) {
    this.classes = WAVE_SHAPES.map((shape) => {
      const levels = examples.filter((each) => each.shape === shape).map((each) => each.harmonics);
      const mean = averages(levels);
      const variance = averages(
        levels.map((each) => each.map((level, i) => (level - mean[i]) ** 2) as Harmonics),
      );
      return { shape, mean, variance };
    });
  }

  /** The likeliest shape, were the levels of each normally distributed. */
  judge(samples: Float32Array, sampleRate: number): WaveShape {
    const heard = harmonics(samples, sampleRate);
    const likelihood = ({ mean, variance }: (typeof this.classes)[number]) =>
      heard.reduce((sum, level, i) => {
        const spread = variance[i] + SMALLEST_SPREAD ** 2;
        return sum - (level - mean[i]) ** 2 / spread - Math.log(spread);
      }, 0);
    return this.classes.reduce((best, each) => (likelihood(each) > likelihood(best) ? each : best)).shape;
  }
}

/** In dB: no class is taken to be sharper than this. */
const SMALLEST_SPREAD = 2;

/** Harmonics weaker than this are as good as none. */
const FLOOR = -45;

/** Medians over the frames that are not much softer than the loudest. */
export function harmonics(samples: Float32Array, sampleRate: number): Harmonics {
  const options: SpectrumOptions = { window: 2048, hop: 512, sampleRate };
  const frames = [...spectra(samples, options)].map((magnitudes) => ({
    magnitudes,
    strongest: strongestPeak(magnitudes, options, 75, 1100),
  }));
  const loudest = Math.max(...frames.map(({ strongest }) => strongest.magnitude));
  const levels = frames
    .filter(({ strongest }) => strongest.magnitude > 0.2 * loudest)
    .map(({ magnitudes, strongest }) =>
      [2, 3, 5].map((k) => {
        const bin = (k * strongest.frequency * options.window) / sampleRate;
        const near = magnitudes.slice(Math.floor(bin) - 1, Math.floor(bin) + 3);
        return Math.max(FLOOR, 20 * Math.log10(Math.max(...near, 1e-9) / strongest.magnitude));
      }),
    );
  return [0, 1, 2].map((i) => median(levels.map((each) => each[i]))) as Harmonics;
}

function averages(rows: Harmonics[]): Harmonics {
  return [0, 1, 2].map((i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length) as Harmonics;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? FLOOR;
}
