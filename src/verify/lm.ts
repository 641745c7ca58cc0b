/** A language model against AudioCraft's: conditions, logits, loss, gradients, solver steps, generation, sampling. */
import { crossEntropyPerCodebook } from "../losses/cross_entropy.ts";
import { ConditionFuser } from "../models/conditioners/fuser.ts";
import type { PreparedConditions } from "../models/conditioners/provider.ts";
import { MusicGenLM } from "../models/lm/lm.ts";
import { InitializerStream, loadState } from "../nn/index.ts";
import { buildSchedule, clipByGlobalNorm } from "../optim/index.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../runtime/index.ts";
import { type Checks, check, type Measured, once, worstOf } from "./check.ts";
import { distance, maxDifference, maxRelative, mismatches, norm2 } from "./compare.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { type GoldenCondition, goldenConditions, prepareRows, providerOf } from "./lm_conditions.ts";
import { fuserConfig, lmConfig, patternProvider } from "./lm_config.ts";
import { tensorOf } from "./tensors.ts";

/** logits and gradients of README.md; conditions are T5's. */
const tolerances = { condition: 1e-5, logits: 2e-5, ce: 1e-6, gradient: 1e-5, lr: 1e-12 };

export interface GoldenLM {
  lm: MusicGenLM;
  conditions: GoldenCondition[];
  codes: Tensor;
  /** The conditions of the batch of inputs.safetensors. */
  batch: PreparedConditions;
}

export async function* verifyLM(folder: GoldenFolder): Checks {
  const golden = once(() => buildGoldenLM(folder));
  yield* verifyConditions(folder, golden);
  yield* verifyLogits(folder, golden);
  yield* verifyLosses(folder, golden);
  if (folder.has("grads.safetensors")) yield* verifyGradients(folder, golden);
  yield* (await import("./lm_steps.ts")).verifySteps(folder);
  yield* (await import("./lm_generation.ts")).verifyGeneration(folder, golden);
  if (folder.meta.cosine_lr_60) yield await verifyCosine(folder.meta.cosine_lr_60 as CosineGolden);
}

/** A new model with the folder's weights. */
export function buildGoldenLM(folder: GoldenFolder): GoldenLM {
  const config = lmConfig(folder);
  const fuser = new ConditionFuser(fuserConfig(folder));
  const conditions = goldenConditions(folder, config.dim, fuser.names);
  const parts = {
    patterns: patternProvider(folder, config.n_q),
    provider: providerOf(conditions),
    fuser,
  };
  const lm = new MusicGenLM(config, parts, new InitializerStream(0));
  // a melody's analysis window is computed here
  loadState(lm, folder.tensors("weights"), { ignore: (name) => name.endsWith(".chroma.spec.window") });
  const codes = tensorOf(folder, "inputs", "codes");
  const rows = Array.from({ length: codes.shape[0] }, (_, row) => row);
  return { lm, conditions, codes, batch: prepareRows(conditions, rows) };
}

/** Cross entropy as the solver computes it; `padding` [B, K, T] leaves cells out. */
export function lossOf(lm: MusicGenLM, codes: Tensor, batch: PreparedConditions, padding: Tensor | null) {
  const { logits, targets, mask } = lm.predictions(codes, lm.conditionProvider.forward(batch));
  const counted = padding === null ? mask : tf.mul(mask, lm.alongSteps(padding));
  return crossEntropyPerCodebook(logits, targets, counted as Tensor);
}

async function* verifyConditions(folder: GoldenFolder, golden: () => GoldenLM): Checks {
  const inputs = folder.tensors("inputs");
  for (const name of inputs.names.filter((input) => /\.(t5_)?hidden$/.test(input))) {
    const condition = name.slice(0, name.lastIndexOf("."));
    yield await check(name, tolerances.condition, () =>
      maxDifference(golden().batch[condition].input.dataSync(), inputs.readFloat32(name)),
    );
  }
  const computed = once(() => golden().lm.conditionProvider.forward(golden().batch));
  for (const name of folder.namesInOrder("outputs")) {
    const [, kind, condition] = /^(cond|cond_mask)\.(.+)$/.exec(name) ?? [];
    if (kind === "cond") {
      yield await check(name, tolerances.condition, () =>
        maxDifference(computed()[condition].embedding.dataSync(), folder.values("outputs", name)),
      );
    } else if (kind === "cond_mask") {
      yield await check(name, 0, () =>
        mismatches(computed()[condition].mask.dataSync(), folder.values("outputs", name)),
      );
    }
  }
}

async function* verifyLogits(folder: GoldenFolder, golden: () => GoldenLM): Checks {
  const outputs = folder.tensors("outputs");
  const expected = (name: string) => folder.values("outputs", name);
  const sequence = () => {
    const { lm, codes } = golden();
    return lm.sequence(codes, lm.patterns.getPattern(codes.shape[2]!));
  };
  if (outputs.has("sequence_codes")) {
    yield await check("sequence_codes", 0, () =>
      mismatches(sequence().dataSync(), expected("sequence_codes")),
    );
  }
  if (outputs.has("sequence_logits")) {
    yield await check("sequence_logits", tolerances.logits, () => {
      const { lm, batch } = golden();
      const forward = jit((tokens: Tensor, conditions: PreparedConditions) =>
        lm.forward(tokens, lm.conditionProvider.forward(conditions)),
      );
      return maxDifference(forward(sequence(), batch as never).dataSync(), expected("sequence_logits"));
    });
  }
  const predictions = once(() => {
    const { lm, codes, batch } = golden();
    const { logits, mask } = lm.computePredictions(codes, lm.conditionProvider.forward(batch));
    return { logits: logits.dataSync(), mask };
  });
  if (outputs.has("logits_mask")) {
    yield await check("logits_mask", 0, () => {
      const rows = golden().codes.shape[0];
      return mismatches(repeat(predictions().mask, rows), expected("logits_mask"));
    });
  }
  if (outputs.has("loss_mask")) {
    yield await check("loss_mask", 0, () => {
      const padding = folder.values("inputs", "padding_mask");
      const mask = repeat(predictions().mask, golden().codes.shape[0]);
      return mismatches(
        mask.map((bit, i) => bit & padding[i]),
        expected("loss_mask"),
      );
    });
  }
  if (outputs.has("logits")) {
    yield await check("logits", tolerances.logits, () => {
      const { logits } = predictions();
      const wanted = expected("logits");
      if (logits.length !== wanted.length) throw new Error("the logits have another shape");
      const counted = expected("logits_mask");
      const card = logits.length / counted.length;
      const inMask = (values: ArrayLike<number>) =>
        Array.from(values).filter((_, i) => counted[Math.floor(i / card)] !== 0);
      return maxDifference(inMask(logits), inMask(wanted));
    });
  }
}

async function* verifyLosses(folder: GoldenFolder, golden: () => GoldenLM): Checks {
  const outputs = folder.tensors("outputs");
  for (const suffix of ["", "_nopad"]) {
    if (!outputs.has(`ce${suffix}`)) continue;
    const computed = once(() => {
      const { lm, codes, batch } = golden();
      return lossOf(lm, codes, batch, suffix === "" ? paddingMask(folder) : null);
    });
    yield await check(`ce${suffix}`, tolerances.ce, () =>
      maxRelative(computed().ce.dataSync(), folder.values("outputs", `ce${suffix}`)),
    );
    yield await check(`ce_per_codebook${suffix}`, tolerances.ce, () =>
      maxRelative(computed().perCodebook.dataSync(), folder.values("outputs", `ce_per_codebook${suffix}`)),
    );
  }
}

function paddingMask(folder: GoldenFolder): Tensor | null {
  if (!folder.tensors("inputs").has("padding_mask")) return null;
  return tensorOf(folder, "inputs", "padding_mask").toFloat() as Tensor;
}

async function* verifyGradients(folder: GoldenFolder, golden: () => GoldenLM): Checks {
  const expected = folder.tensors("grads");
  const computed = once(() => {
    const { lm, codes, batch } = golden();
    const parameters = lm.namedParameters().filter(([, parameter]) => parameter.trainable);
    const padding = paddingMask(folder);
    const step = jit(
      () => {
        const loss = () => ({ loss: lossOf(lm, codes, batch, padding).ce, aux: {} });
        const { gradients } = valueAndGradients(
          loss,
          parameters.map(([, parameter]) => parameter),
        );
        return { gradients, norm: clipByGlobalNorm(gradients, null).norm };
      },
      { name: "gradients" },
    );
    const { gradients, norm } = step();
    const byName = new Map(parameters.map(([name], i) => [name, gradients[i]?.dataSync() ?? null]));
    return { byName, norm: norm.dataSync()[0] };
  });
  if (folder.tensors("outputs").has("grad_norm")) {
    yield await check("grad_norm", tolerances.gradient, () =>
      maxRelative([computed().norm], folder.values("outputs", "grad_norm")),
    );
  }
  yield await check("gradient names", 0, () => {
    const ours = [...computed().byName].filter(([, values]) => values?.some((x) => x !== 0));
    const missing = expected.names.filter((name) => !computed().byName.get(name));
    const unexpected = ours.flatMap(([name]) => (expected.has(name) ? [] : name));
    const wrong = [...missing, ...unexpected];
    return wrong.length === 0 ? { error: 0 } : { error: wrong.length, worst: wrong[0] };
  });
  yield await check("gradients", tolerances.gradient, () => gradientError(expected, computed().byName));
}

/**
 * The largest relative 2-norm distance of a tensor. Where the gradient is zero but for rounding (keys' biases, which
 * softmax ignores: less than a millionth of the whole gradient), the distance counts relative to the whole.
 */
export function gradientError(
  expected: { names: readonly string[]; readFloat32(name: string): Float32Array },
  ours: Map<string, ArrayLike<number> | null>,
): Measured {
  const whole = Math.hypot(...expected.names.map((name) => norm2(expected.readFloat32(name))));
  return worstOf(
    expected.names.map((name) => {
      const wanted = expected.readFloat32(name);
      const own = norm2(wanted);
      const isRounding = own < 1e-6 * whole;
      const values = ours.get(name) ?? new Float32Array(wanted.length);
      return [name, distance(values, wanted) / (isRounding ? whole : own)] as const;
    }),
  );
}

interface CosineGolden extends Json {
  base_lr: number;
  warmup: number;
  total: number;
  lr_min_ratio: number;
  cycle_length?: number;
  values: number[];
}

function verifyCosine({ base_lr, warmup, total, lr_min_ratio, cycle_length = 1, values }: CosineGolden) {
  return check("cosine lr", tolerances.lr, () => {
    const config = { lr_scheduler: "cosine", cosine: { warmup, lr_min_ratio, cycle_length } };
    const schedule = buildSchedule(config, base_lr, total);
    return maxDifference(
      values.map((_, step) => schedule(step)),
      values,
    );
  });
}

function repeat(mask: Uint8Array, times: number): Uint8Array {
  const out = new Uint8Array(mask.length * times);
  for (let i = 0; i < times; i++) out.set(mask, i * mask.length);
  return out;
}
