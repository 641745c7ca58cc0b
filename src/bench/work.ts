/** How much work a measured run is: what rates are computed from, counted the same way for us and the peers. */
import { CODEBOOKS, CODEC_SECONDS, GENERATION, type ModelSize, T5_BATCH, TEXT } from "./sizes.ts";

/** Units of work of one run; a rate is an amount by the run's seconds. */
export type Work = Record<string, number>;

/** Numbers of parameters by what a step does with them. */
export interface ParameterCounts {
  all: number;
  /** Tables of which a step only looks up rows. */
  inputEmbeddings: number;
  /** Those that work on the text: once per sample, not once per generated step. */
  text: number;
}

/** Of MusicGen without biases: embeddings, per layer self- and cross-attention, feed-forward and three norms, heads, text projection. */
export function parameterCounts({
  dim,
  layers,
  card,
}: Pick<ModelSize, "dim" | "layers" | "card">): ParameterCounts {
  const inputEmbeddings = CODEBOOKS * (card + 1) * dim;
  const layer = 4 * dim * dim + 4 * dim * dim + 8 * dim * dim + 3 * 2 * dim;
  const text = TEXT.dim * dim + dim + layers * 2 * dim * dim;
  const heads = CODEBOOKS * card * dim + 2 * dim;
  return { all: inputEmbeddings + layers * layer + heads + TEXT.dim * dim + dim, inputEmbeddings, text };
}

/**
 * A training step: 6 operations per parameter and position (2 forward, 4 backward), as the peers count. Input embeddings multiply nothing
 * and attention's products of queries and keys are left out, so the second figure is the honest one.
 */
export function trainingWork(size: ModelSize): Work {
  const { all, inputEmbeddings } = parameterCounts(size);
  const positions = size.batch * (size.frames + 1);
  return {
    "GFLOP/s": (6 * all * positions) / 1e9,
    "GFLOP/s without input embeddings": (6 * (all - inputEmbeddings) * positions) / 1e9,
    "frames/s": size.batch * size.frames,
  };
}

/** Steps of a generation: the delay pattern's last codebook is 3 behind the first. */
export function generationSteps(frames: number): number {
  return frames + CODEBOOKS - 1;
}

/** A generation reads, at every step, each weight that is multiplied there once. */
export function generationWork(size: ModelSize, frames: number, bytesPerWeight: number): Work {
  const { all, inputEmbeddings, text } = parameterCounts(size);
  const steps = generationSteps(frames);
  const weights = all - inputEmbeddings - text;
  return {
    "frames/s": GENERATION.batch * frames,
    "GB/s of weights": (steps * weights * bytesPerWeight) / 1e9,
    "GFLOP/s": (2 * GENERATION.rows * weights * steps) / 1e9,
  };
}

/** T5-base's encoder without its embeddings: per layer 4 projections of 768 x 768 and two of 768 x 3072. */
export function t5Work(): Work {
  const weights = 12 * (4 * 768 * 768 + 2 * 768 * 3072);
  return {
    "texts/s": T5_BATCH.batch,
    "GFLOP/s": (2 * weights * T5_BATCH.batch * T5_BATCH.tokens) / 1e9,
  };
}

/** EnCodec 32 kHz: filters 64, ratios 8, 5, 4, 4 (decoder's order), one residual unit each, two LSTM layers, 4 codebooks of 2048. */
export function codecWork(): Record<"encode" | "decode", Work> {
  const [dimension, filters, codebooks, bins] = [128, 64, 4, 2048];
  const ratios = [4, 4, 5, 8]; // from full rate to frames
  const samples = CODEC_SECONDS * 32000;
  const conv = (from: number, to: number, kernel: number, outputs: number) =>
    2 * from * to * kernel * outputs;
  let stages = conv(1, filters, 7, samples); // the decoder's last one costs the same
  let [width, length] = [filters, samples];
  for (const ratio of ratios) {
    stages += conv(width, width / 2, 3, length) + conv(width / 2, width, 1, length);
    // a transposed convolution of the decoder multiplies as often as its mirror image here
    length /= ratio;
    stages += conv(width, 2 * width, 2 * ratio, length);
    width *= 2;
  }
  const lstm = 2 * 2 * (4 * width * 2 * width) * length;
  const outer = conv(width, dimension, 7, length);
  const all = stages + lstm + outer;
  const search = codebooks * 2 * bins * dimension * length;
  const rates = (flops: number) => ({ "x real time": CODEC_SECONDS, "GFLOP/s": flops / 1e9 });
  return { encode: rates(all + search), decode: rates(all) };
}
