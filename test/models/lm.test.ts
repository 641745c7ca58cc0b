/** The language model against AudioCraft's (test/golden/lm_tiny): logits, loss, gradients, three solver steps, generation. */
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { openSafetensors, type WeightsReader } from "../../src/checkpoint/safetensors.ts";
import { crossEntropyPerCodebook } from "../../src/losses/cross_entropy.ts";
import { Conditioner, type PreparedCondition } from "../../src/models/conditioners/base.ts";
import { ConditionFuser } from "../../src/models/conditioners/fuser.ts";
import { ConditioningProvider } from "../../src/models/conditioners/provider.ts";
import { Generator } from "../../src/models/lm/generation.ts";
import { type LMConfig, MusicGenLM } from "../../src/models/lm/lm.ts";
import { buildPatternProvider } from "../../src/models/lm/patterns.ts";
import { samplingDistribution } from "../../src/models/lm/sampling.ts";
import { InitializerStream, loadState } from "../../src/nn/index.ts";
import {
  buildOptimizer,
  buildSchedule,
  clipByGlobalNorm,
  ExponentialMovingAverage,
} from "../../src/optim/index.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../../src/runtime/index.ts";
import { close } from "../close.ts";

const open = (name: string) =>
  openSafetensors(new URL(`../golden/lm_tiny/${name}.safetensors`, import.meta.url).pathname);
const float = (file: WeightsReader, name: string) =>
  tf.tensor(file.readFloat32(name), [...file.shape(name)]) as Tensor;
const int = (file: WeightsReader, name: string) =>
  tf.tensor(Int32Array.from(file.read(name) as Int32Array), [...file.shape(name)], "int32") as Tensor;

const config: LMConfig = {
  n_q: 4,
  card: 32,
  dim: 64,
  num_heads: 4,
  num_layers: 3,
  hidden_scale: 4,
  norm_first: true,
  bias_proj: false,
  bias_ff: false,
  bias_attn: false,
  weight_init: "gaussian",
  depthwise_init: "current",
  zero_bias_init: true,
  causal: true,
  custom: false,
  memory_efficient: true,
  attention_as_float32: false,
  dropout: 0,
  attention_dropout: null,
  norm: "layer_norm",
  emb_lr: null,
  xpos: false,
  checkpointing: "none",
  kv_repeat: 1,
  past_context: null,
  layer_scale: null,
  activation: "gelu",
  positional_embedding: "sin",
  cross_attention: true,
  qk_layer_norm: false,
  qk_layer_norm_cross: false,
};

/** Takes hidden states as they are: T5 has its own golden test. */
class HiddenStates extends Conditioner<"text"> {
  readonly kind = "text";
  prepare(): PreparedCondition {
    throw new Error("the golden hidden states are given");
  }
  forward(prepared: PreparedCondition) {
    return this.project(prepared.input, prepared);
  }
}

function makeModel(): MusicGenLM {
  const init = new InitializerStream(1);
  const provider = new ConditioningProvider({ description: new HiddenStates(48, 64, init) });
  const patterns = buildPatternProvider({ modeling: "delay", delay: { delays: [0, 1, 2, 3] } }, 4);
  const lm = new MusicGenLM(
    config,
    { provider, fuser: new ConditionFuser({ cross: ["description"] }), patterns },
    init,
  );
  loadState(lm, open("weights"));
  return lm;
}

function prepared(hidden: Tensor, mask: Tensor) {
  const crossBias = tf.zeros([1, 1, 1, hidden.shape[1]!]);
  return { description: { input: hidden, mask: mask.toFloat(), crossBias } };
}

let lm: MusicGenLM;
let codes: Tensor;
let conditions: ReturnType<typeof prepared>;
const outputs = open("outputs");

before(() => {
  lm = makeModel();
  const inputs = open("inputs");
  codes = int(inputs, "codes");
  conditions = prepared(float(inputs, "description.t5_hidden"), int(inputs, "description.attention_mask"));
});

/** Loss as the solver computes it; `padding` [B, K, T] leaves cells out. */
function loss(model: MusicGenLM, tokens: Tensor, padding: Tensor | null) {
  const { logits, targets, mask } = model.predictions(tokens, model.conditionProvider.forward(conditions));
  const counted = padding === null ? mask : tf.mul(mask, model.alongSteps(padding));
  return crossEntropyPerCodebook(logits, targets, counted as Tensor);
}

test("logits of the pattern's steps agree to 2e-5, eagerly and jitted", () => {
  for (const mode of ["none", "graph", "xla"] as const) {
    const forward = jit(
      (tokens: Tensor, c: typeof conditions) =>
        lm.forward(lm.sequence(tokens, lm.patterns.getPattern(20)), lm.conditionProvider.forward(c)),
      { mode },
    );
    close(forward(codes, conditions).dataSync(), outputs.readFloat32("sequence_logits"), 2e-5);
  }
});

test("logits in the codes' order agree under the pattern's mask, which is the original's", () => {
  const { logits, mask } = lm.computePredictions(codes, lm.conditionProvider.forward(conditions));
  const expected = outputs.readFloat32("logits");
  const expectedMask = outputs.read("logits_mask") as Uint8Array;
  assert.deepEqual([...mask], [...expectedMask.subarray(0, mask.length)]);
  const actual = logits.dataSync();
  for (let cell = 0; cell < expectedMask.length; cell++) {
    if (expectedMask[cell])
      close(actual.subarray(cell * 32, cell * 32 + 32), expected.subarray(cell * 32, cell * 32 + 32), 2e-5);
  }
});

test("cross entropy, whole and per codebook, agrees to 1e-6, with and without a padding mask", () => {
  const padding = float(openMask(), "padding_mask");
  for (const [name, mask] of [
    ["", padding],
    ["_nopad", null],
  ] as const) {
    const { ce, perCodebook } = loss(lm, codes, mask);
    close(ce.dataSync(), outputs.readFloat32(`ce${name}`), 1e-6);
    close(perCodebook.dataSync(), outputs.readFloat32(`ce_per_codebook${name}`), 1e-6);
  }
});

test("gradients of all parameters agree to a relative L2 distance of 1e-5", () => {
  const padding = float(openMask(), "padding_mask");
  const parameters = lm.namedParameters();
  const run = jit(() => {
    const { gradients } = valueAndGradients(
      () => ({ loss: loss(lm, codes, padding).ce, aux: {} }),
      parameters.map(([, p]) => p),
    );
    return { gradients, norm: clipByGlobalNorm(gradients, null).norm };
  });
  const { gradients, norm } = run();
  close(norm.dataSync(), outputs.readFloat32("grad_norm"), 1e-5);
  const grads = open("grads");
  for (const [i, [name]] of parameters.entries()) {
    const [actual, expected] = [gradients[i]!.dataSync(), grads.readFloat32(name)];
    const difference = Math.hypot(...actual.map((a, j) => a - expected[j]));
    assert.ok(
      difference <= 1e-5 * Math.hypot(...expected),
      `${name}: ${difference / Math.hypot(...expected)}`,
    );
  }
});

test("three solver steps with clipping, warm-up and EMA give the original's weights to 2e-4", () => {
  const model = makeModel();
  const parameters = model.namedParameters();
  const adam = { betas: [0.9, 0.95] as [number, number], weight_decay: 0.1, eps: 1e-8 };
  const optimizer = buildOptimizer("adamw", parameters, adam);
  const schedule = buildSchedule(
    { lr_scheduler: "cosine", cosine: { warmup: 2, lr_min_ratio: 0.1, cycle_length: 1 } },
    0.01,
    50,
  );
  const ema = new ExponentialMovingAverage(parameters, 0.9);
  const step = jit((tokens: Tensor, hyper: Record<string, Tensor>, weight: Tensor) => {
    const { loss: ce, gradients } = valueAndGradients(
      () => ({ loss: loss(model, tokens, null).ce, aux: {} }),
      parameters.map(([, p]) => p),
    );
    const clipped = clipByGlobalNorm(gradients, 1);
    optimizer.apply(gradients, clipped.scale, hyper);
    ema.apply(weight);
    return { ce, norm: clipped.norm };
  });
  const steps = open("steps_codes");
  const expected = [
    [5.134142875671387, 6.107324600219727],
    [5.169549942016602, 5.406856060028076],
    [4.406863689422607, 3.0299017429351807],
  ];
  for (const [i, [ce, norm]] of expected.entries()) {
    const hyper = Object.fromEntries(
      Object.entries(optimizer.nextHyper(schedule(i))).map(([k, x]) => [k, tf.scalar(x)]),
    );
    const result = step(int(steps, `codes_${i}`), hyper, tf.scalar(ema.nextWeight()));
    close([result.ce.dataSync()[0], result.norm.dataSync()[0]], [ce, norm], i === 0 ? 1e-6 : 2e-4);
  }
  for (const [reader, values] of [
    ["after3_sched_clip", parameters],
    ["after3_sched_clip_ema", ema.averages],
  ] as const) {
    const file = open(reader);
    const names = new Set(file.names);
    for (const [name, variable] of values) {
      const key = [name, `model.${name}`].find((candidate) => names.has(candidate));
      assert.ok(key, `${reader} has ${name}`);
      close(variable.read(), file.readFloat32(key), 2e-4);
    }
  }
});

test("greedy generation with guidance 3 gives the original's tokens: plain, from a prompt, prompt removed, two-step", async () => {
  const file = open("generate");
  const inputs = open("inputs");
  const generator = new Generator(lm);
  const greedy = { use_sampling: false, temp: 1, top_k: 0, top_p: 0, maxGenLen: 24, cfgCoef: 3, seed: 0 };
  const nullOnly = float(file, "null_only_cond.description");
  const joint = { guidance: "joint" as const, streams: [projected(float(file, "cfg_cond.description"))] };
  const twoStep = {
    guidance: "two-step" as const,
    streams: [projected(float(outputs, "cond.description")), projected(nullOnly)],
  };
  const prompt = promptOf(inputs.read("codes") as Int32Array, 6);
  const cases = [
    ["greedy_cfg3", joint, {}],
    ["greedy_cfg3_prompt6", joint, { prompt }],
    ["greedy_cfg3_prompt6_removed", joint, { prompt, removePrompts: true }],
    ["greedy_cfg3_two_step", twoStep, {}],
  ] as const;
  const project = lm.conditionProvider.forward;
  lm.conditionProvider.forward = passThrough; // the golden conditions are already projected
  try {
    for (const [name, streams, extra] of cases) {
      const { codes: generated } = await generator.generate(streams, 3, { ...greedy, ...extra });
      assert.deepEqual([...generated], [...(file.read(name) as Int32Array)], name);
    }
  } finally {
    lm.conditionProvider.forward = project;
  }
});

test("generation leaves no tensors behind and repeats with the same seed", async () => {
  const generator = new Generator(lm);
  const options = { use_sampling: true, temp: 1, top_k: 5, top_p: 0, maxGenLen: 80, cfgCoef: 1, seed: 7 };
  const streams = { guidance: "none" as const, streams: [conditions] };
  const first = await generator.generate(streams, 3, options); // 84 steps: more than one block
  const tensors = tf.memory().numTensors;
  const second = await generator.generate(streams, 3, options);
  assert.equal(tf.memory().numTensors, tensors);
  assert.deepEqual(second.codes, first.codes);
  const other = await generator.generate(streams, 3, { ...options, seed: 8 });
  assert.notDeepEqual(other.codes, first.codes);
  assert.ok(first.codes.every((code) => code >= 0 && code < 32));
});

test("step-by-step generation sees what the whole sequence sees, across blocks", async () => {
  const generator = new Generator(lm);
  const options = { use_sampling: false, temp: 1, top_k: 0, top_p: 0, maxGenLen: 80, cfgCoef: 1, seed: 0 };
  const { codes: generated } = await generator.generate(
    { guidance: "none", streams: [conditions] },
    3,
    options,
  );
  const tokens = tf.tensor3d(generated, [3, 4, 80], "int32");
  const { logits, mask } = lm.computePredictions(tokens, lm.conditionProvider.forward(conditions));
  const best = tf.argMax(logits, -1).dataSync();
  const wrong = best.filter((code, cell) => mask[cell % (4 * 80)] && code !== generated[cell]).length;
  assert.equal(wrong, 0);
});

test("the distribution that tokens are drawn from agrees with the original for top-k, top-p and temperature", () => {
  const file = open("sampling");
  const logits = float(file, "logits");
  for (const temp of [0.7, 1]) {
    const label = temp.toFixed(1);
    const all = { use_sampling: true, temp, top_k: 0, top_p: 0 };
    close(
      samplingDistribution(logits, all).probabilities.dataSync(),
      file.readFloat32(`probs_t${label}`),
      1e-6,
    );
    for (const top_k of [1, 5]) {
      close(
        samplingDistribution(logits, { ...all, top_k }).probabilities.dataSync(),
        file.readFloat32(`topk${top_k}_t${label}`),
        1e-6,
      );
    }
    for (const top_p of [0.1, 0.5, 0.9]) {
      const { probabilities, tokens } = samplingDistribution(logits, { ...all, top_k: 5, top_p });
      close(probabilities.dataSync(), file.readFloat32(`topp${top_p}_t${label}_sorted`), 1e-6);
      assert.deepEqual(
        [...tokens!.dataSync()],
        [...(file.read(`topp${top_p}_t${label}_sort_idx`) as Int32Array)],
      );
    }
  }
});

function openMask(): WeightsReader {
  const inputs = open("inputs");
  return Object.assign(Object.create(inputs), {
    readFloat32: (name: string) => Float32Array.from(inputs.read(name) as Uint8Array),
    shape: (name: string) => inputs.shape(name),
  });
}

function projected(embedding: Tensor) {
  const [rows, length] = embedding.shape;
  return {
    description: {
      input: embedding,
      mask: tf.ones([rows, length!]),
      crossBias: tf.zeros([1, 1, 1, length!]),
    },
  };
}

const passThrough: typeof lm.conditionProvider.forward = (given) =>
  Object.fromEntries(
    Object.entries(given).map(([name, { input, ...rest }]) => [name, { embedding: input, ...rest }]),
  );

/** The first `frames` frames of codes [3, 4, 20]. */
function promptOf(all: Int32Array, frames: number) {
  const rows = Array.from({ length: 12 }, (_, row) => [...all.subarray(row * 20, row * 20 + frames)]);
  return { codes: Int32Array.from(rows.flat()), frames };
}
