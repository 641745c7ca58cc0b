/** Composes a clip: turns its spec into notes and drum strokes on a beat grid. */
import type { TorchGenerator } from "../../random/mt19937.ts";
import type { ClipSpec, Direction, Groove, Key, Part } from "./specs.ts";

export interface Note {
  /** MIDI number: 69 is A4, 440 Hz. */
  pitch: number;
  /** Start and length, in beats. */
  start: number;
  length: number;
  /** Linear gain, about 0.6 to 1. */
  velocity: number;
}

export interface Stroke {
  drum: "kick" | "snare" | "hat";
  start: number;
  velocity: number;
}

export const SCALES = { major: [0, 2, 4, 5, 7, 9, 11], minor: [0, 2, 3, 5, 7, 8, 10] };
const BEATS_PER_BAR = 4;

/** Chord roots as scale degrees (0 = tonic), one per bar, by the number of bars. All begin on the tonic. */
export const PROGRESSIONS: Record<number, number[][]> = {
  2: [
    [0, 3],
    [0, 4],
    [0, 5],
  ],
  3: [
    [0, 3, 4],
    [0, 5, 4],
    [0, 5, 3],
  ],
  4: [
    [0, 4, 5, 3],
    [0, 3, 4, 0],
    [0, 5, 3, 4],
  ],
  6: [
    [0, 4, 5, 3, 0, 4],
    [0, 3, 4, 0, 3, 4],
    [0, 5, 3, 4, 0, 5],
  ],
};

/** Eighth notes of a bar: r root, f fifth, o octave. */
const BASS_LINES = ["rrrrffoo", "rrforrfo", "rorororo", "rrfrorfr"];

/** Note lengths of a bar of melody, in beats. */
const MELODY_RHYTHMS = [
  [1, 0.5, 0.5, 1, 1],
  [0.5, 0.5, 1, 0.5, 0.5, 1],
  [1, 1, 0.5, 0.5, 1],
  [1.5, 0.5, 1, 1],
];

/** The notes of the pitched part, in order of their start; they end with the last bar. */
export function composePart(spec: ClipSpec, part: Part, random: TorchGenerator): Note[] {
  const bars = spec.beats / BEATS_PER_BAR;
  const progressions = PROGRESSIONS[bars];
  const chords = progressions[random.randint(progressions.length)];
  const notes = composePitches(part, chords, random);
  return notes.map((note) => ({ ...note, velocity: note.velocity * (0.92 + 0.08 * random.rand()) }));
}

function composePitches(part: Part, chords: number[], random: TorchGenerator): Note[] {
  const { key } = part;
  switch (part.pattern) {
    case "arpeggio":
      return chords.flatMap((root, bar) => arpeggio(key, root, part.direction!, bar * BEATS_PER_BAR));
    case "bass line": {
      const line = BASS_LINES[random.randint(BASS_LINES.length)];
      return chords.flatMap((root, bar) => bassLine(key, root, line, bar * BEATS_PER_BAR));
    }
    case "melody":
      return melody(key, chords, random);
    case "chord pad":
      return chords.flatMap((root, bar) =>
        chord([bassNote(key, root), ...triad(key, root)], bar * BEATS_PER_BAR, BEATS_PER_BAR),
      );
    case "scale run":
      return chords.flatMap((_, bar) => scaleRun(key, part.direction!, bar * BEATS_PER_BAR));
    case "pulsing chords":
      return chords.flatMap((root, bar) =>
        repeat(8, 0.5, (t) => chord(triad(key, root), bar * BEATS_PER_BAR + t, 0.3)),
      );
    case "rolled chords":
      return chords.flatMap((root, bar) =>
        repeat(4, 1, (t) => rolledChord(key, root, bar * BEATS_PER_BAR + t)),
      );
  }
}

/** The strokes of a groove, bar by bar. */
export function composeDrums(groove: Groove, beats: number): Stroke[] {
  const bar = DRUM_BARS[groove];
  return repeat(beats / BEATS_PER_BAR, BEATS_PER_BAR, (t) =>
    bar.map((stroke) => ({ ...stroke, start: stroke.start + t })),
  );
}

const DRUM_BARS: Record<Groove, Stroke[]> = {
  rock: [...strokes("kick", [0, 2, 2.5]), ...strokes("snare", [1, 3]), ...strokes("hat", eighths())],
  disco: [
    ...strokes("kick", [0, 1, 2, 3]),
    ...strokes("snare", [1, 3]),
    ...strokes("hat", [0.5, 1.5, 2.5, 3.5]),
  ],
  "half-time": [...strokes("kick", [0, 1.5]), ...strokes("snare", [2]), ...strokes("hat", eighths())],
  breakbeat: [
    ...strokes("kick", [0, 0.5, 2.25, 2.5]),
    ...strokes("snare", [1, 1.75, 3]),
    ...strokes("hat", [...eighths(), 3.75]),
  ],
};

/** Eighth notes over the chord's tones, two octaves at most. */
function arpeggio(key: Key, root: number, direction: Direction, start: number): Note[] {
  const order = {
    rising: [0, 1, 2, 3],
    falling: [3, 2, 1, 0],
    "rising-and-falling": [0, 1, 2, 3, 4, 3, 2, 1],
  }[direction];
  const base = placeIn(55, degreePitch(key, root));
  const steps = [0, 2, 4, 7, 9].map((step) => degreePitch(key, root + step) - degreePitch(key, root));
  return repeat(8, 0.5, (t) => {
    const pitch = base + steps[order[(t * 2) % order.length]];
    return [{ pitch, start: start + t, length: 0.5, velocity: accent(t) }];
  });
}

function bassLine(key: Key, root: number, line: string, start: number): Note[] {
  const base = bassNote(key, root);
  const fifth = degreePitch(key, root + 4) - degreePitch(key, root);
  const steps: Record<string, number> = { r: 0, f: fifth, o: 12 };
  return repeat(line.length, 0.5, (t) => [
    { pitch: base + steps[line[t * 2]], start: start + t, length: 0.45, velocity: accent(t) },
  ]);
}

/** A walk along the scale that meets a chord tone on beats 1 and 3 and comes home at the end. */
function melody(key: Key, chords: number[], random: TorchGenerator): Note[] {
  const tonic = placeIn(60, key.tonic);
  const rhythms = [0, 1].map(() => MELODY_RHYTHMS[random.randint(MELODY_RHYTHMS.length)]);
  const notes: Note[] = [];
  let degree = [0, 2, 4][random.randint(3)];
  chords.forEach((root, bar) => {
    let beat = 0;
    for (const length of rhythms[bar % 2]) {
      if (notes.length > 0) degree += [-2, -1, -1, 1, 1, 2][random.randint(6)];
      if (degree > 9 || degree < 0) degree = Math.abs(degree > 9 ? 16 - degree : degree);
      if (beat % 2 === 0) degree = nearestChordTone(degree, root);
      const start = bar * BEATS_PER_BAR + beat;
      notes.push({
        pitch: tonic - key.tonic + degreePitch(key, degree),
        start,
        length,
        velocity: accent(beat),
      });
      beat += length;
    }
  });
  notes[notes.length - 1].pitch = tonic + (degree > 4 ? 12 : 0);
  return notes;
}

/** Sixteenth notes over one octave of the scale. */
function scaleRun(key: Key, direction: Direction, start: number): Note[] {
  const up = [0, 1, 2, 3, 4, 5, 6, 7];
  const down = [...up].reverse();
  const halves = { rising: [up, up], falling: [down, down], "rising-and-falling": [up, down] }[direction];
  const order = halves.flat();
  const base = placeIn(57, key.tonic) - key.tonic;
  return repeat(order.length, 0.25, (t) => [
    { pitch: base + degreePitch(key, order[t * 4]), start: start + t, length: 0.25, velocity: accent(t) },
  ]);
}

function chord(pitches: number[], start: number, length: number): Note[] {
  return pitches.map((pitch) => ({ pitch, start, length, velocity: accent(start) }));
}

/** The chord's tones one after the other from the lowest, a thirty-second note apart, each left ringing. */
function rolledChord(key: Key, root: number, start: number): Note[] {
  return [bassNote(key, root), ...triad(key, root)].map((pitch, i) => ({
    pitch,
    start: start + i * 0.125,
    length: 1 - i * 0.125,
    velocity: accent(start),
  }));
}

/** The chord's tones in whatever inversion lies between G3 and F#4: chords follow each other smoothly. */
function triad(key: Key, root: number): number[] {
  return [0, 2, 4].map((step) => placeIn(55, degreePitch(key, root + step))).sort((a, b) => a - b);
}

function bassNote(key: Key, root: number): number {
  return placeIn(40, degreePitch(key, root));
}

/** Semitones above C of a scale degree; degree 7 is the tonic an octave up. */
export function degreePitch(key: Key, degree: number): number {
  return key.tonic + SCALES[key.mode][degree % 7] + 12 * Math.floor(degree / 7);
}

/** The pitch of the same name within the octave that begins at MIDI number `low`. */
function placeIn(low: number, pitch: number): number {
  return low + ((((pitch - low) % 12) + 12) % 12);
}

function nearestChordTone(degree: number, root: number): number {
  const isTone = (d: number) => [0, 2, 4].includes((((d - root) % 7) + 7) % 7);
  return [0, -1, 1, 2].map((step) => degree + step).find((d) => d >= 0 && isTone(d))!;
}

/** Bars and beats are stressed, so that the meter is heard. */
function accent(beat: number): number {
  if (beat % BEATS_PER_BAR === 0) return 1;
  return beat % 1 === 0 ? 0.85 : 0.7;
}

function strokes(drum: Stroke["drum"], starts: number[]): Stroke[] {
  return starts.map((start) => ({ drum, start, velocity: accent(start) }));
}

function eighths(): number[] {
  return [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5];
}

/** What `make` returns for 0, step, 2 step, … joined. */
function repeat<T>(count: number, step: number, make: (offset: number) => T[]): T[] {
  return Array.from({ length: count }, (_, i) => make(i * step)).flat();
}
