/** What a description asks for, and whether a clip does it. */
import type { ClipSpec, Direction, Part } from "../data/example/specs.ts";
import { direction } from "./direction.ts";
import { tempo } from "./tempo.ts";
import { tonic } from "./tonic.ts";
import { type WaveShapeJudge, waveShapeOf } from "./wave_shape.ts";

/** A clip of the example music that has a pitched part. */
export type PartSpec = ClipSpec & { part: Part };

/** A quality of music that words ask for and signal analysis finds. */
export interface Quality {
  title: string;
  /** What the words ask for; null when they don't. */
  wanted(spec: PartSpec): string | number | null;
  /** What is heard. The spec tells the analysis its other qualities, never the one in question. */
  heard(samples: Float32Array, sampleRate: number, spec: PartSpec, judge: WaveShapeJudge): string | number;
  matches(heard: string | number, wanted: string | number): boolean;
}

const equal = (a: string | number, b: string | number) => a === b;

export const QUALITIES = {
  pitchClass: {
    title: "pitch class of the tonic",
    wanted: ({ part }) => part.key.tonic,
    heard: (samples, sampleRate, { part: { key, pattern }, bpm }) =>
      tonic(samples, sampleRate, { mode: key.mode, pattern, bpm }),
    matches: equal,
  },
  tempo: {
    title: "tempo within 8 %",
    wanted: ({ bpm }) => bpm,
    heard: (samples, sampleRate, { part, groove }) =>
      tempo(samples, sampleRate, { pattern: part.pattern, drums: groove !== null }),
    matches: (heard, wanted) => Math.abs(Number(heard) / Number(wanted) - 1) <= 0.08,
  },
  waveShape: {
    title: "wave shape",
    wanted: ({ part }) => waveShapeOf(part.instrument),
    heard: (samples, sampleRate, _, judge) => judge.judge(samples, sampleRate),
    matches: equal,
  },
  direction: {
    title: "direction of the pattern",
    // one of the wordings leaves it out
    wanted: ({ part, wording }) => (wording === 0 ? null : part.direction),
    heard: (samples, sampleRate): Direction => direction(samples, sampleRate),
    matches: equal,
  },
} satisfies Record<string, Quality>;

export type QualityName = keyof typeof QUALITIES;

export const QUALITY_NAMES = Object.keys(QUALITIES) as QualityName[];

/** What was asked for and heard in one clip; no entry for qualities that its description leaves open. */
export type Hearing = Partial<
  Record<QualityName, { wanted: string | number; heard: string | number; right: boolean }>
>;

/** Listens to a clip for all that its description asks. */
export function listen(
  samples: Float32Array,
  sampleRate: number,
  spec: PartSpec,
  judge: WaveShapeJudge,
): Hearing {
  const hearing: Hearing = {};
  for (const name of QUALITY_NAMES) {
    const quality: Quality = QUALITIES[name];
    const wanted = quality.wanted(spec);
    if (wanted === null) continue;
    const heard = quality.heard(samples, sampleRate, spec, judge);
    hearing[name] = { wanted, heard, right: quality.matches(heard, wanted) };
  }
  return hearing;
}

export interface Share {
  right: number;
  of: number;
}

/** How many of the clips that were asked for a quality have it. */
export function share(hearings: readonly Hearing[], name: QualityName): Share {
  const entries = hearings.flatMap((hearing) => hearing[name] ?? []);
  return { right: entries.filter(({ right }) => right).length, of: entries.length };
}

/**
 * Chance: the share of all pairs of one clip's sound with another clip's description that match. It counts what a model would
 * reach that makes the same music and does not read.
 */
export function chance(hearings: readonly Hearing[], name: QualityName): number {
  const entries = hearings.flatMap((hearing) => hearing[name] ?? []);
  const quality: Quality = QUALITIES[name];
  let matching = 0;
  entries.forEach(({ heard }, i) => {
    entries.forEach(({ wanted }, j) => {
      if (i !== j && quality.matches(heard, wanted)) matching++;
    });
  });
  return matching / Math.max(1, entries.length * (entries.length - 1));
}
