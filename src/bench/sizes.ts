/** What the benchmarks work on. The peers' scripts get these numbers on their command lines. */

/** A language model over 4 codebooks, and a batch for it. */
export interface ModelSize {
  dim: number;
  layers: number;
  heads: number;
  /** Codes per codebook. */
  card: number;
  batch: number;
  /** Of a training batch: a second has 50. */
  frames: number;
}

export const SIZES = {
  /** For trying the benchmarks out. */
  tiny: { dim: 64, layers: 2, heads: 4, card: 2048, batch: 2, frames: 50 },
  bench: { dim: 512, layers: 8, heads: 8, card: 2048, batch: 4, frames: 500 },
  /** MusicGen small. */
  small: { dim: 1024, layers: 24, heads: 16, card: 2048, batch: 1, frames: 500 },
} satisfies Record<string, ModelSize>;
export type SizeName = keyof typeof SIZES;

/** bf16: matrix products of bfloat16 under autocast, weights and all else in float32. */
export const PRECISIONS = ["fp32", "bf16"] as const;
export type Precision = (typeof PRECISIONS)[number];

/** Codebooks of the language model. */
export const CODEBOOKS = 4;
/** The text that cross-attention sees: positions, and their vectors' size before the projection (T5-base's). */
export const TEXT = { positions: 32, dim: 768 };
/** One sample, with guidance: two rows. */
export const GENERATION = { batch: 1, rows: 2, frames: 100, topK: 250, cfgCoef: 3 };
/** Seconds of audio. */
export const CODEC_SECONDS = 10;
export const T5_BATCH = { batch: 4, tokens: 32 };
/** What the data benchmark makes of a file: batches of segments. */
export const SEGMENT = { seconds: 10, sampleRate: 32000, batch: 8 };
/** A training run's config, as an example of composing. */
export const CONFIG_OVERRIDES = [
  "solver=musicgen/musicgen_base_32khz",
  "optim.lr=1e-4",
  "dataset.batch_size=8",
];
/** The tiny default of `npm run train`, which `start` starts: for the peer, which has no such thing. */
export const DEFAULT_RUN: ModelSize = { dim: 128, layers: 4, heads: 4, card: 1024, batch: 4, frames: 300 };
