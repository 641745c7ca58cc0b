/** The tonic of a clip: which of twelve keys of the described mode its bars fit best. */
import { PROGRESSIONS, SCALES } from "../data/example/score.ts";
import type { Key, Part } from "../data/example/specs.ts";
import { midiOf, peaks, type SpectrumOptions, spectra } from "./spectrum.ts";

/** How strongly each pitch class sounds, C first. */
type Chroma = number[];

/** What a note of pitch class 0 leaves in a chroma: itself, its third harmonic (the fifth), its fifth (the major third). */
const NOTE = [1, 0, 0, 0, 0.1, 0, 0, 0.25, 0, 0, 0, 0];

/** Weights of a chord's degrees above its root in a bar of each pattern, for all seven degrees of the scale. */
const BARS: Record<Part["pattern"], number[]> = {
  arpeggio: [1.4, 0, 1, 0, 1, 0, 0],
  "bass line": [3, 0, 0, 0, 1, 0, 0],
  melody: [1.2, 0.6, 1.2, 0.6, 1.2, 0.6, 0.6],
  "chord pad": [1.6, 0, 1, 0, 1, 0, 0],
  "rolled chords": [1.6, 0, 1, 0, 1, 0, 0],
  "pulsing chords": [1, 0, 1, 0, 1, 0, 0],
  "scale run": [2, 1, 1, 1, 1, 1, 1],
};

/**
 * Semitones above C of the tonic that fits best. `mode` and `pattern` are what the description says, and its tempo gives the bars;
 * the chords of a bar are those that the example music uses. Chance is one in twelve.
 */
export function tonic(
  samples: Float32Array,
  sampleRate: number,
  { mode, pattern, bpm }: { mode: Key["mode"]; pattern: Part["pattern"]; bpm: number },
): number {
  const barFrames = Math.round((4 * 60 * sampleRate) / bpm);
  const count = Math.max(1, Math.round(samples.length / barFrames - 0.2));
  const bars = Array.from({ length: count }, (_, b) =>
    chroma(samples.subarray(b * barFrames, (b + 1) * barFrames), sampleRate),
  );
  const total = sum(bars);
  const score = (candidate: number) => {
    const fit = (roots: number[]) =>
      mean(bars.map((bar, b) => cosine(bar, expected(candidate, mode, pattern, roots[b % roots.length]))));
    const chords = Math.max(...progressions(count, pattern).map(fit));
    return chords + 0.5 * cosine(total, scaleOf(candidate, mode));
  };
  const scores = Array.from({ length: 12 }, (_, t) => score(t));
  return scores.indexOf(Math.max(...scores));
}

/** Scale runs stay on the tonic. */
function progressions(bars: number, pattern: Part["pattern"]): number[][] {
  if (pattern === "scale run") return [[0]];
  const length = PROGRESSIONS[bars] ? bars : 3;
  return PROGRESSIONS[length];
}

/** The chroma of a bar on a chord. */
function expected(key: number, mode: Key["mode"], pattern: Part["pattern"], root: number): Chroma {
  const scale = SCALES[mode];
  return spread((add) => {
    BARS[pattern].forEach((weight, step) => {
      add(key + scale[(root + step) % 7], weight);
    });
  });
}

function scaleOf(key: number, mode: Key["mode"]): Chroma {
  return spread((add) => {
    SCALES[mode].forEach((step, degree) => {
      add(key + step, degree === 0 ? 1.5 : 1);
    });
  });
}

/** The chroma of weighted pitch classes with their harmonics. */
function spread(fill: (add: (pitch: number, weight: number) => void) => void): Chroma {
  const out = new Array<number>(12).fill(0);
  fill((pitch, weight) => {
    NOTE.forEach((share, step) => {
      out[(pitch + step) % 12] += share * weight;
    });
  });
  return out;
}

/** Sums peaks near semitones from C2 up, the low ones in full: the higher, the more of them are harmonics. */
function chroma(samples: Float32Array, sampleRate: number): Chroma {
  const options: SpectrumOptions = { window: 8192, hop: 2048, sampleRate };
  const out = new Array<number>(12).fill(0);
  for (const magnitudes of spectra(samples, options)) {
    const floor = 0.03 * magnitudes.reduce((max, x) => Math.max(max, x), 0);
    for (const { frequency, magnitude } of peaks(magnitudes, options, 64, 2100)) {
      if (magnitude < floor) continue;
      const midi = midiOf(frequency);
      const nearest = Math.round(midi);
      const weight = nearest < 84 ? 1 : 0.3;
      out[nearest % 12] += weight * magnitude * Math.max(0, 1 - 2 * Math.abs(midi - nearest));
    }
  }
  return out;
}

function sum(rows: Chroma[]): Chroma {
  return rows[0].map((_, i) => rows.reduce((total, row) => total + row[i], 0));
}

function mean(values: number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

/** Cosine of the square roots, which keep one loud note from outvoting the others. */
function cosine(a: Chroma, b: Chroma): number {
  let dot = 0;
  let lengthA = 0;
  let lengthB = 0;
  a.forEach((x, i) => {
    dot += Math.sqrt(x * b[i]);
    lengthA += x;
    lengthB += b[i];
  });
  return dot / Math.sqrt(lengthA * lengthB + 1e-20);
}
