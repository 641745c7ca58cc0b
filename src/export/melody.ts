/** What exports need to know of a model's melody conditioner. */
import type { MusicGenConfig } from "../config/index.ts";

/** Whether a melody is put before the sequence (MusicgenMelody), or only a text attended to (Musicgen). */
export function isMelody(cfg: MusicGenConfig): boolean {
  return hasMelody(cfg) && cfg.fuser.prepend.length > 0;
}

/** Whether there is a conditioner of chroma. */
export function hasMelody(cfg: MusicGenConfig): boolean {
  return cfg.conditioners?.self_wav?.model === "chroma_stem";
}

/** The section `chroma_stem`. */
export interface Chroma {
  sample_rate: number;
  n_chroma?: number;
  radix2_exp?: number;
  nfft?: number | null;
  winlen?: number | null;
  winhop?: number | null;
  chroma_length?: number | null;
  argmax?: boolean;
  norm?: unknown;
}

export function chromaOf(cfg: MusicGenConfig): Chroma {
  return (cfg.conditioners?.self_wav as { chroma_stem?: Chroma } | undefined)?.chroma_stem as Chroma;
}

export function windowOf({ nfft, radix2_exp = 12 }: Chroma): number {
  return nfft ?? 2 ** radix2_exp;
}

export function hopOf({ winlen, winhop, radix2_exp = 12 }: Chroma): number {
  return winhop ?? Math.floor((winlen ?? 2 ** radix2_exp) / 4);
}

/** Frames that every melody is brought to. */
export function chromaLength(cfg: MusicGenConfig): number {
  return chromaOf(cfg).chroma_length ?? segmentChromaLength(cfg);
}

/** Frames of chroma of a training segment: centred windows. */
export function segmentChromaLength(cfg: MusicGenConfig): number {
  const chroma = chromaOf(cfg);
  return (
    1 + Math.floor(Math.trunc((cfg.dataset.segment_duration ?? 30) * chroma.sample_rate) / hopOf(chroma))
  );
}
