/** The wave shape of a clip's tones, by their second, third and fifth harmonics. */
import { type Peak, peaks, type SpectrumOptions, spectra } from "./spectrum.ts";

export type WaveShape = "sine wave" | "triangle wave" | "square wave" | "sawtooth wave";

/** A classification of the strongest tone of each frame; the shape that most of the sound has. Chance is one in four. */
export function waveShape(samples: Float32Array, sampleRate: number): WaveShape {
  const { second, third, fifth } = harmonics(samples, sampleRate);
  if (third < -14.5 && fifth < -19) return third > -24 ? "triangle wave" : "sine wave";
  return second > -13 ? "sawtooth wave" : "square wave";
}

/** Levels of harmonics below the fundamental in dB: medians over frames. */
export function harmonics(
  samples: Float32Array,
  sampleRate: number,
): { second: number; third: number; fifth: number } {
  const options: SpectrumOptions = { window: 2048, hop: 512, sampleRate };
  const levels = { second: [] as number[], third: [] as number[], fifth: [] as number[] };
  const frames = [...spectra(samples, options)].map((magnitudes) => ({
    magnitudes,
    strongest: peaks(magnitudes, options, 75, 1100).reduce<Peak>(
      (best, peak) => (peak.magnitude > best.magnitude ? peak : best),
      { frequency: 0, magnitude: 0 },
    ),
  }));
  const loudest = Math.max(...frames.map(({ strongest }) => strongest.magnitude));
  for (const { magnitudes, strongest } of frames) {
    if (strongest.magnitude < 0.2 * loudest) continue;
    const level = (k: number) => {
      const bin = (k * strongest.frequency * options.window) / sampleRate;
      const near = magnitudes.slice(Math.floor(bin) - 1, Math.floor(bin) + 3);
      return 20 * Math.log10(Math.max(...near, 1e-9) / strongest.magnitude);
    };
    levels.second.push(level(2));
    levels.third.push(level(3));
    levels.fifth.push(level(5));
  }
  return { second: median(levels.second), third: median(levels.third), fifth: median(levels.fifth) };
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? -100;
}
