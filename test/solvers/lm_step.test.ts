/** One update of the language model, made in one function or in parts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { asMusicGenConfig } from "../../src/config/schema.ts";
import { composeTrainConfig } from "../../src/config/train-config.ts";
import { buildLM } from "../../src/models/builders.ts";
import { textAttributes } from "../../src/models/conditioners/base.ts";
import type { MusicGenLM } from "../../src/models/lm/lm.ts";
import { buildOptimizer, LossScaler } from "../../src/optim/index.ts";
import { TorchGenerator } from "../../src/random/mt19937.ts";
import { scoped, type Tensor, tf } from "../../src/runtime/index.ts";
import { LMStep, type StepParts, type TrainInput } from "../../src/solvers/lm_step.ts";
import type { Metrics } from "../../src/solvers/stage_metrics.ts";

const overrides = [
  "transformer_lm.dim=32",
  "transformer_lm.num_layers=2",
  "transformer_lm.num_heads=2",
  "seed=1",
];
const cfg = asMusicGenConfig(composeTrainConfig(overrides));
const adam = { betas: [0.9, 0.95] as [number, number], weight_decay: 0.1, eps: 1e-8 };

async function build(parts: Partial<StepParts> = {}) {
  const lm = await buildLM(cfg);
  const trainable = lm.namedParameters().filter(([, parameter]) => parameter.trainable);
  const optimizer = buildOptimizer("adamw", trainable, adam);
  return {
    lm,
    optimizer,
    step: new LMStep({ lm, optimizer, ema: null, precision: null, maxNorm: 1, ...parts }),
  };
}

/** Rows `from` to `to` of a batch of four. */
function rows(lm: MusicGenLM, from: number, to: number): TrainInput {
  const { n_q: nQ, card } = lm.config;
  const random = new TorchGenerator(3);
  const values = Int32Array.from({ length: 4 * nQ * 20 }, () => random.randint(card));
  const codes = tf.tensor3d(values, [4, nQ, 20], "int32").slice([from, 0, 0], [to - from, nQ, 20]);
  const texts = ["slow piano", "fast drums", "slow bells", "fast piano"].slice(from, to);
  const samples = texts.map((description) => textAttributes({ description }));
  const conditions = lm.conditionProvider.prepare(samples, { training: false });
  const dropoutKey = tf.tensor1d([1, 2], "int32") as Tensor;
  return { codes: codes as unknown as Tensor, mask: null, conditions, dropoutKey };
}

function weights(lm: MusicGenLM): Float32Array[] {
  return lm.parameters().map((parameter) => parameter.read() as Float32Array);
}

function largestDifference(a: Float32Array[], b: Float32Array[]): number {
  let largest = 0;
  for (const [i, values] of a.entries())
    for (const [j, value] of values.entries()) largest = Math.max(largest, Math.abs(value - b[i][j]));
  return largest;
}

/** Three updates with the batches that `inputs` makes; the metrics of the last. */
function update(
  { step }: { step: LMStep },
  lm: MusicGenLM,
  inputs: (lm: MusicGenLM) => TrainInput[],
): Metrics {
  let metrics: Metrics = {};
  for (let i = 0; i < 3; i++) metrics = scoped(() => step.train(inputs(lm), 1e-3, false));
  return metrics;
}

test("two accumulated batches move the weights as one batch of all their rows does", async () => {
  const [whole, parts] = [await build(), await build()];
  const a = update(whole, whole.lm, (lm) => [rows(lm, 0, 4)]);
  const b = update(parts, parts.lm, (lm) => [rows(lm, 0, 2), rows(lm, 2, 4)]);
  // Adam divides by the root of the squares: entries whose gradient is rounding error may move by the rate
  assert.ok(largestDifference(weights(whole.lm), weights(parts.lm)) < 2e-4);
  assert.ok(Math.abs(a.ce - b.ce) < 1e-5, `${a.ce} ${b.ce}`);
  assert.ok(Math.abs(a.grad_norm / b.grad_norm - 1) < 1e-4, `${a.grad_norm} ${b.grad_norm}`);
});

test("an update in parts, as skip_nonfinite asks for, gives the weights of the update in one", async () => {
  const [whole, parts] = [await build(), await build({ skipNonfinite: true })];
  const a = update(whole, whole.lm, (lm) => [rows(lm, 0, 4)]);
  const b = update(parts, parts.lm, (lm) => [rows(lm, 0, 4)]);
  assert.ok(largestDifference(weights(whole.lm), weights(parts.lm)) < 1e-6);
  assert.ok(Math.abs(a.ce - b.ce) < 1e-6);
});

test("float16 with loss scaling follows float32; the scale halves on overflow, and the update is left out and counted", async () => {
  const scaler = new LossScaler();
  const [exact, half] = [await build(), await build({ precision: "float16", scaler })];
  const a = update(exact, exact.lm, (lm) => [rows(lm, 0, 4)]);
  const b = update(half, half.lm, (lm) => [rows(lm, 0, 4)]);
  assert.equal(b.grad_scale, 65536);
  assert.ok(Math.abs(a.ce / b.ce - 1) < 0.01, `${a.ce} ${b.ce}`);

  const before = weights(half.lm);
  scaler.state.scale = 2 ** 40;
  const updates = half.optimizer.counters.updates;
  const skipped = scoped(() => half.step.train([rows(half.lm, 0, 4)], 1e-3, false));
  assert.equal(skipped.skipped, 1);
  assert.equal(skipped.grad_norm, undefined);
  assert.equal(scaler.state.scale, 2 ** 39);
  assert.equal(half.optimizer.counters.updates, updates);
  assert.equal(largestDifference(before, weights(half.lm)), 0);
});

test("the scale doubles after as many good updates as the interval", () => {
  const scaler = new LossScaler({ growthInterval: 3 });
  for (const finite of [true, true, false, true, true, true]) scaler.update(finite);
  assert.deepEqual(scaler.state, { scale: 65536, sinceOverflow: 0 });
});
