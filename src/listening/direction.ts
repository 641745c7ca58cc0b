/** Whether a line rises, falls, or does both: by the share of its steps that go up. */
import type { Direction } from "../data/example/specs.ts";
import { midiOf, type SpectrumOptions, spectra, strongestPeak } from "./spectrum.ts";

/** Shortest note, in frames of 16 ms. */
const SHORTEST = 3;

/**
 * An arpeggio that rises has three steps up and one back down to its first note, a scale run seven and one; one that does both has as
 * many up as down. Chance is one in three.
 */
export function direction(samples: Float32Array, sampleRate: number): Direction {
  const share = shareRising(samples, sampleRate);
  if (share > 0.62) return "rising";
  return share < 0.38 ? "falling" : "rising-and-falling";
}

/** Of the steps from one note to another, how many go up; a half when there is none. */
export function shareRising(samples: Float32Array, sampleRate: number): number {
  const notes = line(samples, sampleRate);
  let up = 0;
  let down = 0;
  for (let i = 1; i < notes.length; i++) {
    if (notes[i] > notes[i - 1]) up++;
    if (notes[i] < notes[i - 1]) down++;
  }
  return up + down === 0 ? 0.5 : up / (up + down);
}

/** The notes one after the other, in semitones: the strongest peak between G3 and C6 wherever it stays for 48 ms. */
function line(samples: Float32Array, sampleRate: number): number[] {
  const options: SpectrumOptions = { window: 1024, hop: Math.round(0.016 * sampleRate), sampleRate };
  const notes: number[] = [];
  let current = 0;
  let length = 0;
  for (const magnitudes of spectra(samples, options)) {
    const strongest = strongestPeak(magnitudes, options, 190, 1100);
    const note = strongest.frequency > 0 ? Math.round(midiOf(strongest.frequency)) : 0;
    length = note === current ? length + 1 : 1;
    current = note;
    if (length === SHORTEST && note > 0 && note !== notes.at(-1)) notes.push(note);
  }
  return notes;
}
