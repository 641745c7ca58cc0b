/** The tempo of a clip: the pulse train that its onsets fit best. */
import type { Part } from "../data/example/specs.ts";
import { type SpectrumOptions, spectra } from "./spectrum.ts";

/** How strong an onset each pattern has on each sixteenth of a bar. */
const BARS: Record<Part["pattern"] | "drums", number[]> = {
  arpeggio: every(2),
  "bass line": every(2),
  melody: [1, 0, 0.3, 0, 0.7, 0, 0.5, 0, 0.9, 0, 0.5, 0, 0.8, 0, 0.2, 0],
  "chord pad": every(16),
  "rolled chords": every(4),
  "pulsing chords": every(2),
  "scale run": every(1),
  drums: [2, 0, 0.8, 0, 2, 0, 0.8, 0, 2, 0, 1.6, 0, 2, 0, 0.8, 0],
};

const SLOWEST = 56;
const FASTEST = 176;

/** Onset values a second. */
const RATE = 100;

/**
 * Beats a minute, between 56 and 176. `pattern` (null: drums alone) and `drums` say where in a bar onsets are, which is what tells
 * a slow arpeggio from a fast one; the described tempo itself is not looked at.
 */
export function tempo(
  samples: Float32Array,
  sampleRate: number,
  { pattern, drums }: { pattern: Part["pattern"] | null; drums: boolean },
): number {
  const onsets = onsetStrength(samples, sampleRate);
  const bar = BARS.drums.map((stroke, i) => (drums ? stroke : 0) + (pattern ? BARS[pattern][i] : 0));
  let best = { bpm: SLOWEST, fit: Number.NEGATIVE_INFINITY };
  for (let bpm = SLOWEST; bpm <= FASTEST; bpm *= 1.004) {
    const fit = barFit(onsets, bar, (60 * RATE) / bpm / 4);
    if (fit > best.fit) best = { bpm, fit };
  }
  return best.bpm;
}

/** The cosine, but for a constant, of the onsets and of bars one after the other, whose sixteenths last `step` values, for the best phase. */
function barFit(onsets: Float64Array, bar: number[], step: number): number {
  let best = Number.NEGATIVE_INFINITY;
  for (let phase = -bar.length * step; phase < 0; phase++) {
    let dot = 0;
    let power = 0;
    for (let i = 0, at = phase; at < onsets.length - 1; i++, at += step) {
      const weight = bar[i % bar.length];
      if (weight === 0 || at < 0) continue;
      dot += weight * onsets[Math.round(at)];
      power += weight * weight;
    }
    best = Math.max(best, dot / Math.sqrt(power + 1e-9));
  }
  return best;
}

function every(sixteenths: number): number[] {
  const accent = (i: number) => (i === 0 ? 1 : i % 4 === 0 ? 0.85 : 0.7);
  return Array.from({ length: 16 }, (_, i) => (i % sixteenths === 0 ? accent(i) : 0));
}

/** How much louder each band gets from one 10 ms frame to the next, in logarithms, blurred by 20 ms, without its mean. */
function onsetStrength(samples: Float32Array, sampleRate: number): Float64Array {
  const options: SpectrumOptions = { window: 1024, hop: Math.round(sampleRate / RATE), sampleRate };
  const flux: number[] = [];
  const history: Float64Array[] = [];
  for (const magnitudes of spectra(samples, options)) {
    const loudness = magnitudes.map((x) => Math.log1p(0.1 * x));
    const before = history.length < 2 ? undefined : history.shift();
    flux.push(before ? loudness.reduce((sum, x, k) => sum + Math.max(0, x - before[k]), 0) : 0);
    history.push(loudness);
  }
  const blurred = flux.map((_, t) => {
    const at = (d: number) => flux[t + d] ?? 0;
    return at(0) + 0.7 * (at(-1) + at(1)) + 0.3 * (at(-2) + at(2));
  });
  const mean = blurred.reduce((a, b) => a + b, 0) / blurred.length;
  return Float64Array.from(blurred, (x) => x - mean);
}
