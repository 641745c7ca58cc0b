/** Along what the cost of training and generation is measured, and how it has to grow by the mathematics. */
import type { ModelSize } from "./sizes.ts";
import { generationSteps, parameterCounts } from "./work.ts";

export interface GrowthAxis {
  name: "length" | "batch" | "depth" | "width";
  /** For the axis of a chart. */
  label: string;
  /** Ascending, each twice the one before. */
  values: number[];
  /** The model and batch at a value. */
  at: (value: number) => ModelSize;
}

/** What all axes start from. Heads have 64 values at each width. */
export const BASE: ModelSize = { dim: 256, layers: 4, heads: 4, card: 2048, batch: 2, frames: 250 };

export const AXES: GrowthAxis[] = [
  {
    name: "length",
    label: "frames",
    values: [125, 250, 500, 1000, 2000],
    at: (frames) => ({ ...BASE, frames }),
  },
  {
    name: "batch",
    label: "samples in a batch",
    values: [1, 2, 4, 8, 16],
    at: (batch) => ({ ...BASE, batch }),
  },
  { name: "depth", label: "layers", values: [2, 4, 8, 16, 32], at: (layers) => ({ ...BASE, layers }) },
  {
    name: "width",
    label: "size of a position's vector",
    values: [128, 256, 512, 1024],
    at: (dim) => ({ ...BASE, dim, heads: dim / 64 }),
  },
];

/** What is measured at each value, and what it costs by the mathematics, up to a factor. */
export const COSTS = {
  "training time": { unit: "s", expected: trainingFlops },
  "training memory": { unit: "MiB", expected: trainingBytes },
  "generation time": { unit: "s", expected: generationCost },
  "generation memory": { unit: "MiB", expected: generationBytes },
} satisfies Record<string, { unit: string; expected: (size: ModelSize) => number }>;
export type CostName = keyof typeof COSTS;

/** Products of weights and positions, and of queries and keys (half of the pairs, as the model is causal). */
function trainingFlops(size: ModelSize): number {
  const { all, inputEmbeddings } = parameterCounts(size);
  const positions = size.batch * (size.frames + 1);
  return 6 * (all - inputEmbeddings) * positions + 6 * size.layers * positions * size.frames * size.dim;
}

/** Weights, gradients and two moments; about 34 values per layer and position kept for the backward pass; logits and their gradient. */
function trainingBytes(size: ModelSize): number {
  const positions = size.batch * (size.frames + 1);
  return 16 * parameterCounts(size).all + 4 * positions * (34 * size.layers * size.dim + 8 * size.card);
}

/**
 * Each step multiplies a row of each guided sample with all weights and with the keys and values of the steps before it, and reads them:
 * whichever takes longer on a machine that does `BALANCE` operations while it reads a byte.
 */
function generationCost(size: ModelSize): number {
  const { all, inputEmbeddings, text } = parameterCounts(size);
  const steps = generationSteps(size.frames);
  const rows = 2 * size.batch;
  const weights = all - inputEmbeddings - text;
  const past = size.layers * size.dim * steps; // of a row, keys and values, on average over the steps
  return steps * Math.max((2 * rows * (weights + past)) / BALANCE, 4 * (weights + rows * past));
}

/** Of processors with 75 GFLOP/s a core and 10 GB/s. */
const BALANCE = 8;

function generationBytes(size: ModelSize): number {
  const cache = 2 * size.layers * 2 * size.batch * size.dim * generationSteps(size.frames);
  return 4 * (parameterCounts(size).all + cache);
}
