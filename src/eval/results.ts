/** What an evaluation found, as JSON and as a table. */
import {
  chance,
  type Hearing,
  QUALITIES,
  QUALITY_NAMES,
  type QualityName,
  share,
} from "../listening/wishes.ts";

/** A held-out description, and what was heard in the generated clip and in the codec's reconstruction of the real one. */
export interface EvaluatedClip {
  id: string;
  description: string;
  generated: Hearing;
  reconstructed: Hearing;
}

export const HEADER = ["", "generated", "95 % interval", "chance", "codec's reconstruction"];

/** A row of text per quality. */
export function tableRows(clips: readonly EvaluatedClip[]): string[][] {
  return QUALITY_NAMES.map((name) => {
    const { generated, interval, chance, reconstructed, of } = scores(clips)[name];
    return [
      QUALITIES[name].title,
      `${percent(generated)} of ${of}`,
      `${percent(interval[0])} to ${percent(interval[1])}`,
      percent(chance),
      percent(reconstructed),
    ];
  });
}

export interface Score {
  /** Clips whose description asks for it. */
  of: number;
  /** Shares from 0 to 1. */
  generated: number;
  interval: [number, number];
  chance: number;
  reconstructed: number;
}

export function scores(clips: readonly EvaluatedClip[]): Record<QualityName, Score> {
  const generated = clips.map((clip) => clip.generated);
  const reconstructed = clips.map((clip) => clip.reconstructed);
  const entries = QUALITY_NAMES.map((name): [QualityName, Score] => {
    const { right, of } = share(generated, name);
    const ceiling = share(reconstructed, name);
    return [
      name,
      {
        of,
        generated: right / of,
        interval: wilson(right, of),
        chance: chance(generated, name),
        reconstructed: ceiling.right / ceiling.of,
      },
    ];
  });
  return Object.fromEntries(entries) as Record<QualityName, Score>;
}

/** Wilson's 95 % interval of a share (1927). */
export function wilson(right: number, of: number): [number, number] {
  if (of === 0) return [0, 1];
  const z = 1.96;
  const share = right / of;
  const middle = share + (z * z) / (2 * of);
  const width = z * Math.sqrt((share * (1 - share)) / of + (z * z) / (4 * of * of));
  const scale = 1 + (z * z) / of;
  return [Math.max(0, (middle - width) / scale), Math.min(1, (middle + width) / scale)];
}

export function percent(value: number): string {
  return Number.isNaN(value) ? "-" : `${Math.round(100 * value)} %`;
}
