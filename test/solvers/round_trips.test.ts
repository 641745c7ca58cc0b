/** What passes between JavaScript and TensorFlow in a step: on a GPU each value that is read waits for all that was begun. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { asMusicGenConfig } from "../../src/config/schema.ts";
import { composeTrainConfig } from "../../src/config/train-config.ts";
import { buildLM } from "../../src/models/builders.ts";
import { textAttributes } from "../../src/models/conditioners/base.ts";
import { Generator } from "../../src/models/lm/generation.ts";
import type { MusicGenLM } from "../../src/models/lm/lm.ts";
import { buildOptimizer, ExponentialMovingAverage } from "../../src/optim/index.ts";
import { scoped, type Tensor, tf, tracesSoFar } from "../../src/runtime/index.ts";
import { backend, bindingWith, realBinding } from "../../src/runtime/tensorflow.ts";
import { LMStep, type TrainInput } from "../../src/solvers/lm_step.ts";
import { plainLM } from "../models/lm/golden.ts";

const overrides = ["transformer_lm.dim=32", "transformer_lm.num_layers=2", "transformer_lm.num_heads=2"];
let lm: MusicGenLM;
let step: LMStep;

before(async () => {
  lm = await buildLM(asMusicGenConfig(composeTrainConfig(overrides)));
  const parameters = lm.namedParameters();
  const optimizer = buildOptimizer("adamw", parameters, { betas: [0.9, 0.95], weight_decay: 0.1, eps: 1e-8 });
  const ema = new ExponentialMovingAverage(parameters, 0.9);
  step = new LMStep({ lm, optimizer, ema, precision: null, maxNorm: 1 });
});

/** A batch whose tensors are in TensorFlow already. */
function batch(): TrainInput {
  const codes = tf.zeros([2, lm.config.n_q, 20], "int32") as Tensor;
  const samples = ["piano", "drums"].map((description) => textAttributes({ description }));
  const conditions = lm.conditionProvider.prepare(samples, { training: false });
  const dropoutKey = tf.tensor1d([1, 2], "int32") as Tensor;
  backend.getInputTensorIds([
    codes,
    dropoutKey,
    ...Object.values(conditions).flatMap((c) => [c.input, c.mask, c.crossBias]),
  ]);
  return { codes, mask: null, conditions, dropoutKey };
}

/** What `f` asks of the binding outside of jitted functions, besides calling these. */
async function countedIn(f: () => unknown) {
  const counts = { read: 0, written: 0, single: 0 };
  const counting = <K extends "tensorDataSync" | "createTensor" | "executeOp">(
    key: K,
    name: keyof typeof counts,
  ) => ({
    [key]: (...args: unknown[]) => {
      counts[name]++;
      return (realBinding[key] as (...all: unknown[]) => unknown)(...args);
    },
  });
  const original = backend.binding;
  backend.binding = bindingWith({
    ...counting("tensorDataSync", "read"),
    ...counting("createTensor", "written"),
    ...counting("executeOp", "single"),
  });
  try {
    await f();
  } finally {
    backend.binding = original;
  }
  return counts;
}

test("an update reads one vector of metrics, writes four scalars (three of AdamW, one of the average), and runs no single op", async () => {
  const input = batch();
  const update = () => scoped(() => step.train([input], 1e-3, true));
  update(); // traces
  assert.deepEqual(await countedIn(update), { read: 1, written: 4, single: 0 });
});

test("a validation step reads one vector of metrics and does nothing else", async () => {
  const input = batch();
  const validate = () => scoped(() => step.valid(input));
  validate(); // traces
  assert.deepEqual(await countedIn(validate), { read: 1, written: 0, single: 0 });
});

test("a generation reads its tokens alone: at most one tensor a step", async () => {
  const lm = plainLM({});
  const options = { use_sampling: false, temp: 1, top_k: 0, top_p: 0, cfgCoef: 1, seed: 0, maxGenLen: 12 };
  const generator = new Generator(lm);
  const generate = () => generator.generate({ guidance: "none", streams: [{}] }, 2, options);
  await generate(); // traces
  let steps = 0;
  const counts = await countedIn(() =>
    generator.generate({ guidance: "none", streams: [{}] }, 2, { ...options, onStep: () => steps++ }),
  );
  assert.ok(steps > 0 && counts.read <= steps + 1, `${counts.read} reads in ${steps} steps`);
});

test("the same shapes again trace nothing", () => {
  scoped(() => {
    step.train([batch()], 1e-3, true);
    step.valid(batch());
    const before = tracesSoFar().length;
    step.train([batch()], 5e-4, true);
    step.valid(batch());
    assert.equal(tracesSoFar().length, before);
  });
});

test("rows that do not count leave the loss of the others as it is", () => {
  scoped(() => {
    const input = batch();
    const { codes, conditions } = input;
    const three = (tensor: Tensor) => tf.concat([tensor, tensor.slice(1)], 0) as Tensor;
    const filled = Object.fromEntries(
      Object.entries(conditions).map(([name, c]) => [
        name,
        { ...c, input: three(c.input), mask: three(c.mask) },
      ]),
    );
    const mask = tf.concat([tf.ones([2, lm.config.n_q, 20]), tf.zeros([1, lm.config.n_q, 20])], 0) as Tensor;
    const alone = step.valid(input);
    const among = step.valid({ codes: three(codes), mask, conditions: filled });
    for (const [name, value] of Object.entries(alone))
      assert.ok(Math.abs(among[name] - value) <= 1e-5 * Math.abs(value), name);
  });
});
