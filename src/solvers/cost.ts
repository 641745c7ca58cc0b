/**
 * What an update will take in memory and time, told before the first one. The counts are those of a transformer's tensors
 * and products; the coefficients were fitted to measured runs (bench/RESULTS.md), and are good to about a third.
 */
import { durationText } from "../log/progress.ts";
import type { LMConfig } from "../models/lm/lm.ts";
import { type AutocastType, autocast, jit, scoped, type Tensor, tf } from "../runtime/index.ts";
import { availableMemory } from "./memory.ts";

export interface Workload {
  config: LMConfig;
  /** Trained values of the model. */
  parameters: number;
  /** Values of the optimizer and of the average. */
  stateValues: number;
  batchSize: number;
  /** Batches of one update. */
  accumulate: number;
  /** Time steps of a segment. */
  steps: number;
  precision: AutocastType | null;
}

export interface Cost {
  /** Bytes at the peak: the two that follow, and what the program itself takes. */
  memory: number;
  /** Bytes of weights, gradients, optimizer, average and best state. */
  state: number;
  /** Bytes that the forward pass keeps for the backward pass, of the whole batch. */
  activations: number;
  /** The same with transformer_lm.checkpointing=torch. */
  checkpointed: number;
  batchSize: number;
  seconds: number;
  /** Bytes that were available before training. */
  available: number;
}

/** Bytes of the program without a model. */
const PROGRAM = 0.6e9;
/** Values kept per layer and step, in units of dim, and per layer and pair of steps, in units of heads. */
const KEPT_PER_STEP = 44;
const KEPT_PER_PAIR = 3;

/** Measures how fast this machine multiplies matrices of the model's size (some milliseconds). */
export function estimateCost(workload: Workload): Cost {
  const { config, parameters, stateValues, batchSize, accumulate, steps, precision } = workload;
  const { dim, num_layers: layers, num_heads: heads, n_q: nQ, card } = config;
  const rows = batchSize * steps;
  const perLayer = 4 * rows * (KEPT_PER_STEP * dim + KEPT_PER_PAIR * heads * steps);
  const logits = 4 * 3 * rows * nQ * card;
  const inputs = 4 * rows * dim * layers;
  const checkpointing = (config as { checkpointing?: string }).checkpointing ?? "none";
  const checkpointed = logits + inputs + perLayer;
  const activations = checkpointing === "none" ? logits + layers * perLayer : checkpointed;
  const bestState = parameters * (precision === null ? 4 : 2);
  const state = 4 * (2 * parameters + stateValues) + bestState + (accumulate > 1 ? 4 * parameters : 0);
  const recomputed = checkpointing === "none" ? 1 : 4 / 3;
  const flops = recomputed * (6 * parameters * rows + 12 * layers * rows * steps * dim);
  const rate = matrixProductRate(Math.min(rows, 2048), dim, precision);
  return {
    memory: PROGRAM + state + activations,
    state,
    activations,
    checkpointed,
    batchSize,
    seconds: accumulate * (flops / rate),
    available: availableMemory(),
  };
}

/** One line for the log. */
export function costText({ memory, state, activations, seconds, available }: Cost, updates: number): string {
  const epoch = durationText(Math.max(1, updates * seconds));
  return (
    `estimate: ${amount(memory)} of memory (weights and optimizer ${amount(state)}, activations ${amount(activations)}; ` +
    `${amount(available)} available); an epoch's ${updates} updates take ${epoch} or more, as the codec and reading come on top`
  );
}

/** Which settings would fit into the memory that there was before training. */
export function memoryAdvice({ state, activations, checkpointed, batchSize, available }: Cost): string {
  const room = available - PROGRAM - state;
  if (room <= 0) {
    return (
      `weights, gradients, optimizer and average alone take ${amount(state)}, and ${amount(available)} are available; ` +
      "a smaller model (model/lm/model_scale=small), optim.ema.use=false or another machine is needed"
    );
  }
  const fitting = Math.floor((batchSize * room) / activations);
  const advice = [];
  if (fitting >= 1 && fitting < batchSize) {
    const accumulate = Math.ceil(batchSize / fitting);
    advice.push(
      `dataset.batch_size=${fitting} would fit (with optim.accumulate=${accumulate} an update is the same)`,
    );
  }
  if (checkpointed < room && checkpointed < activations) {
    advice.push(
      `transformer_lm.checkpointing=torch would take ${amount(checkpointed)} instead of ${amount(activations)}`,
    );
  }
  return advice.join("; ") || "use a smaller dataset.batch_size or dataset.segment_duration";
}

/** FLOP/s of [rows, dim] times [dim, 4 dim]. */
function matrixProductRate(rows: number, dim: number, precision: AutocastType | null): number {
  const product = jit(
    (a: Tensor, b: Tensor) => autocast(precision, () => tf.sum(tf.matMul(a as never, b as never)) as Tensor),
    { name: "matrix_product_rate" },
  );
  const flops = 2 * rows * dim * 4 * dim;
  let best = Number.POSITIVE_INFINITY;
  scoped(() => {
    const [a, b] = [tf.ones([rows, dim]) as Tensor, tf.ones([dim, 4 * dim]) as Tensor];
    const until = performance.now() + 50;
    for (let i = 0; i < 3 || performance.now() < until; i++) {
      const began = performance.now();
      product(a, b).dataSync();
      if (i > 0) best = Math.min(best, performance.now() - began);
    }
  });
  product.dispose();
  return flops / (best / 1000);
}

function amount(bytes: number): string {
  return bytes < 1e8 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
