/** What the example data set contains: one `ClipSpec` per clip, balanced over instrument, pattern, tempo and key. */
import { TorchGenerator } from "../../random/mt19937.ts";

export const INSTRUMENTS = [
  "sine wave",
  "square wave",
  "triangle wave",
  "sawtooth wave",
  "plucked string",
  "bell",
  "electric piano",
  "organ",
  "flute",
  "marimba",
] as const;
export const PATTERNS = [
  "arpeggio",
  "bass line",
  "melody",
  "chord pad",
  "scale run",
  "pulsing chords",
] as const;
export const GROOVES = ["rock", "disco", "half-time", "breakbeat"] as const;
export const TEMPOS = ["slow", "moderate", "fast"] as const;

export type Instrument = (typeof INSTRUMENTS)[number];
/** Short-lived instruments cannot hold a pad: they roll the chord anew on every beat. */
export type Pattern = (typeof PATTERNS)[number] | "rolled chords";
export type Groove = (typeof GROOVES)[number];
export type Tempo = (typeof TEMPOS)[number];
export type Direction = "rising" | "falling" | "rising-and-falling";

export interface Key {
  /** Semitones above C. */
  tonic: number;
  mode: "major" | "minor";
}

/** The pitched part of a clip. */
export interface Part {
  instrument: Instrument;
  pattern: Pattern;
  /** Of arpeggios and scale runs; null for the other patterns. */
  direction: Direction | null;
  key: Key;
}

export interface ClipSpec {
  /** Four digits; also the file's stem. */
  id: string;
  /** Of the random choices inside the clip: chords, melody, accents, noise. */
  seed: number;
  /** Null for a clip of drums alone. */
  part: Part | null;
  /** The drum pattern; null without drums. */
  groove: Groove | null;
  tempo: Tempo;
  bpm: number;
  /** The clip is this many beats long, in whole 4/4 bars, unless it is cut before. */
  beats: number;
  /** The music stops here though bars go on, in seconds; null plays to the end of the last bar. */
  cutAt: number | null;
  effect: "dry" | "echo" | "reverb";
  /** Which of the description's wordings, and which of its two mood words, is used. */
  wording: number;
  mood: 0 | 1;
  sampleRate: number;
  channels: 1 | 2;
  format: "wav" | "flac" | "mp3";
  split: "train" | "valid";
}

/**
 * Whole bars of 4/4 that last 6 to 8 s at each tempo. Eighth notes last a whole number of the 20 ms frames of the shipped codec: a
 * note then has the same codes wherever it stands, which a small model learns in a fraction of the time.
 */
export const TEMPO_RANGES: Record<Tempo, { bpm: number[]; beats: number }> = {
  slow: { bpm: [bpmOf(22), bpmOf(21)], beats: 8 },
  moderate: { bpm: [bpmOf(14), bpmOf(13)], beats: 12 },
  fast: { bpm: [bpmOf(10)], beats: 16 },
};

/** Beats a minute at which an eighth note lasts so many frames of 20 ms: 68.2, 71.4, 107.1, 115.4, 150. */
function bpmOf(frames: number): number {
  return 60 / (2 * 0.02 * frames);
}

/** Most files are small; the others exercise resampling and channel conversion. */
const WAV_RATES = [...Array(33).fill(16000), ...Array(5).fill(22050), 32000, 44100] as number[];
const COMPRESSED_RATES = [16000, 22050, 32000, 44100];

/**
 * The specs of all clips, always the same: every instrument x pattern x tempo once in a major and once in a minor key,
 * one of the two with drums, then the drums alone. About one in ten is for validation.
 */
export function exampleSpecs(): ClipSpec[] {
  const random = new TorchGenerator(20230608);
  const decks = {
    bpm: {
      slow: deck(TEMPO_RANGES.slow.bpm),
      moderate: deck(TEMPO_RANGES.moderate.bpm),
      fast: deck(TEMPO_RANGES.fast.bpm),
    },
    tonic: { major: deck(range(12)), minor: deck(range(12)) },
    direction: deck<Direction>(["rising", "falling", "rising-and-falling"]),
    effect: deck<ClipSpec["effect"]>(["dry", "echo", "reverb"]),
    wording: deck(range(5)),
    mood: deck<0 | 1>([0, 1]),
    format: deck<ClipSpec["format"]>([...Array(26).fill("wav"), "flac", "mp3"]),
    wavRate: deck(WAV_RATES),
    wavChannels: deck<1 | 2>([...Array(23).fill(1), 2]),
    compressedRate: deck(COMPRESSED_RATES),
    compressedChannels: deck<1 | 2>([1, 2]),
  };
  const specs: ClipSpec[] = [];

  function add(part: Part | null, groove: Groove | null, tempo: Tempo, valid: boolean): void {
    const format = decks.format(random);
    specs.push({
      id: String(specs.length + 1).padStart(4, "0"),
      seed: 1000 + specs.length,
      part,
      groove,
      tempo,
      bpm: decks.bpm[tempo](random),
      beats: TEMPO_RANGES[tempo].beats,
      cutAt: null,
      effect: decks.effect(random),
      wording: decks.wording(random),
      mood: decks.mood(random),
      sampleRate: format === "wav" ? decks.wavRate(random) : decks.compressedRate(random),
      channels: format === "wav" ? decks.wavChannels(random) : decks.compressedChannels(random),
      format,
      split: valid ? "valid" : "train",
    });
  }

  INSTRUMENTS.forEach((instrument, i) => {
    PATTERNS.forEach((name, p) => {
      TEMPOS.forEach((tempo, t) => {
        for (const mode of ["major", "minor"] as const) {
          const m = mode === "major" ? 0 : 1;
          const pattern = playable(name, instrument);
          const direction = name === "arpeggio" || name === "scale run" ? decks.direction(random) : null;
          const key = { tonic: decks.tonic[mode](random), mode };
          const groove = (i + p + t + m) % 2 === 1 ? "rock" : null;
          const valid = (i + p + 2 * t) % 5 === 0 && (i + t) % 2 === m;
          add({ instrument, pattern, direction, key }, groove, tempo, valid);
        }
      });
    });
  });
  GROOVES.forEach((groove, g) => {
    TEMPOS.forEach((tempo, t) => {
      add(null, groove, tempo, g === t + 1);
    });
  });
  return specs;
}

/** Length of the clip in sample frames. */
export function clipFrames(spec: ClipSpec): number {
  const seconds = (spec.beats * 60) / spec.bpm;
  return Math.round(Math.min(seconds, spec.cutAt ?? seconds) * spec.sampleRate);
}

/** The pattern that an instrument plays when `name` is asked of it. */
export function playable(name: (typeof PATTERNS)[number], instrument: Instrument): Pattern {
  const decaysFast = instrument === "plucked string" || instrument === "marimba";
  return name === "chord pad" && decaysFast ? "rolled chords" : name;
}

/** Draws the cards of a shuffled deck one by one, then shuffles again: random order, exact balance. */
export function deck<T>(cards: T[]): (random: TorchGenerator) => T {
  let rest: T[] = [];
  return (random) => {
    if (rest.length === 0) rest = [...cards];
    return rest.splice(random.randint(rest.length), 1)[0];
  };
}

export function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}
