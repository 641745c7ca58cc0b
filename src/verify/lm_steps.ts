/** Solver steps: forward, backward, clipping, optimizer, schedule, moving average of the weights. */
import { buildOptimizer, buildSchedule, clipByGlobalNorm, ExponentialMovingAverage } from "../optim/index.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../runtime/index.ts";
import { type Checks, check, once, worstOf } from "./check.ts";
import { maxDifference, maxRelative } from "./compare.ts";
import type { GoldenFolder } from "./folder.ts";
import { buildGoldenLM, lossOf } from "./lm.ts";
import { tensorOf } from "./tensors.ts";

interface Trajectory {
  steps: { ce: number; ce_q: number[]; lr: number; grad_norm?: number }[];
  adamw?: AdamSection;
  adam?: AdamSection;
  max_norm: number | null;
  cosine: { warmup: number; total: number; lr_min_ratio: number; cycle_length: number } | null;
  ema_decay: number;
  ema_unbias: boolean;
}

interface AdamSection {
  lr: number;
  betas: [number, number];
  weight_decay: number;
  eps: number;
}

/** Weights, averages and moments after the steps; the loss, too, once it depends on updated weights. */
const tolerance = 2e-4;

export async function* verifySteps(folder: GoldenFolder): Checks {
  for (const key of Object.keys(folder.meta).filter((name) => name.startsWith("trajectory_"))) {
    yield* verifyTrajectory(folder, key.slice("trajectory_".length), folder.meta[key] as Trajectory);
  }
}

async function* verifyTrajectory(folder: GoldenFolder, name: string, golden: Trajectory): Checks {
  const run = once(() => runSteps(folder, golden));
  for (const [i, expected] of golden.steps.entries()) {
    const at = `${name} step ${i + 1}`;
    const forLoss = i === 0 ? 1e-6 : tolerance;
    yield await check(`${at} ce`, forLoss, () => maxRelative([run().steps[i].ce], [expected.ce]));
    yield await check(`${at} ce per codebook`, forLoss, () =>
      maxRelative(run().steps[i].perCodebook, expected.ce_q),
    );
    yield await check(`${at} lr`, 1e-12, () => maxDifference([run().steps[i].lr], [expected.lr]));
    if (expected.grad_norm !== undefined) {
      const forNorm = i === 0 ? 1e-5 : tolerance;
      yield await check(`${at} grad_norm`, forNorm, () =>
        maxRelative([run().steps[i].norm], [expected.grad_norm!]),
      );
    }
  }
  const results: [suffix: string, kind: "weights" | "averages" | "moments"][] = [
    ["", "weights"],
    ["_ema", "averages"],
    ["_opt", "moments"],
  ];
  for (const [suffix, kind] of results) {
    const file = `after${golden.steps.length}_${name}${suffix}`;
    if (!folder.has(`${file}.safetensors`)) continue;
    yield await check(`${name} ${kind}`, tolerance, () => {
      const reader = folder.tensors(file);
      const ours: Results = run()[kind];
      const reach = golden.steps.reduce((sum, { lr }) => sum + lr, 0);
      return worstOf(
        reader.names
          .filter((tensor) => !BUFFERS.test(tensor))
          .map((tensor) => {
            const parameter = tensor.replace(/^model\./, "");
            const values = ours.get(tensor) ?? ours.get(parameter);
            if (!values) throw new Error(`our model has no ${tensor}`);
            const expected = reader.readFloat32(tensor);
            const noise = kind === "moments" ? null : roundingOnly(folder, name, golden, parameter);
            const small = run().smallGradients.get(parameter);
            if (noise && small) for (let i = 0; i < noise.length; i++) noise[i] ||= small[i];
            return [tensor, differenceBut(noise, reach, values(), expected)] as const;
          }),
      );
    });
  }
}

/** Tables that the original keeps in its state dict, and we compute. */
const BUFFERS = /\.chroma\.(spec\.window|fbanks)$/;

/** Gradients below this are rounding, which Adam's steps blow up to the learning rate: such entries may differ by it. */
const smallGradient = 1e-7;

/** By entry of a parameter: 1 where all of the original's gradients were rounding. Its second moments tell. */
function roundingOnly(
  folder: GoldenFolder,
  name: string,
  golden: Trajectory,
  parameter: string,
): Uint8Array | null {
  const file = `after${golden.steps.length}_${name}_opt`;
  if (!folder.has(`${file}.safetensors`)) return null;
  const moment = `${parameter}.exp_avg_sq`;
  if (!folder.tensors(file).has(moment)) return null;
  const [, beta2] = (golden.adamw ?? golden.adam!).betas;
  const largest = smallGradient ** 2 * (1 - beta2);
  return Uint8Array.from(folder.tensors(file).readFloat32(moment), (square) => (square < largest ? 1 : 0));
}

/** The largest difference, where entries of `noise` may differ by `reach`. */
function differenceBut(
  noise: Uint8Array | null,
  reach: number,
  ours: ArrayLike<number>,
  theirs: Float32Array,
): number {
  if (noise === null) return maxDifference(ours, theirs);
  const excused = theirs.map((value, i) =>
    noise[i] === 1 && Math.abs(ours[i] - value) <= 2 * reach ? value : ours[i],
  );
  return maxDifference(excused, theirs);
}

type Results = Map<string, () => ArrayLike<number>>;

/** All steps on a model of its own; the results by the names of the files. */
function runSteps(folder: GoldenFolder, golden: Trajectory) {
  const { lm, batch } = buildGoldenLM(folder);
  const parameters = lm.namedParameters().filter(([, parameter]) => parameter.trainable);
  const adam = golden.adamw ?? golden.adam!;
  const parameterGroups = lm.parameterGroups();
  const groupOf = new Map(
    parameterGroups.flatMap((group, index) => group.parameters.map(([name]) => [name, index] as const)),
  );
  const groups = {
    of: parameters.map(([name]) => groupOf.get(name)!),
    weightDecays: parameterGroups.map(({ weightDecay }) => weightDecay ?? adam.weight_decay),
  };
  const optimizer = buildOptimizer(golden.adamw ? "adamw" : "adam", parameters, adam, groups);
  const { cosine } = golden;
  const schedules = parameterGroups.map(({ lr = adam.lr }) =>
    cosine ? buildSchedule({ lr_scheduler: "cosine", cosine }, lr, cosine.total) : () => lr,
  );
  const ema = new ExponentialMovingAverage(lm.namedParameters(), golden.ema_decay, golden.ema_unbias);
  const step = jit((codes: Tensor, hyper: Record<string, Tensor>, weight: Tensor) => {
    const { loss, aux, gradients } = valueAndGradients(
      () => {
        const { ce, perCodebook } = lossOf(lm, codes, batch, null);
        return { loss: ce, aux: { perCodebook } };
      },
      parameters.map(([, parameter]) => parameter),
    );
    const { scale, norm } = clipByGlobalNorm(gradients, golden.max_norm);
    optimizer.apply(gradients, scale, hyper);
    ema.apply(weight);
    return { loss, perCodebook: aux.perCodebook, norm, gradients };
  });
  const smallGradients = new Map(parameters.map(([name, { size }]) => [name, new Uint8Array(size)]));
  const steps = golden.steps.map((_, i) => {
    const rates = schedules.map((schedule) => schedule(i));
    const hyper = Object.fromEntries(
      Object.entries(optimizer.nextHyper(rates)).map(([key, x]) => [key, tf.scalar(x) as Tensor]),
    );
    const result = step(tensorOf(folder, "steps_codes", `codes_${i}`), hyper, tf.scalar(ema.nextWeight()));
    for (const [at, [parameter]] of parameters.entries()) {
      const small = smallGradients.get(parameter)!;
      const gradient = result.gradients[at]?.dataSync() ?? [];
      for (let j = 0; j < gradient.length; j++) {
        const size = Math.abs(gradient[j]);
        if (size > 0 && size < smallGradient) small[j] = 1;
      }
    }
    return {
      ce: result.loss.dataSync()[0],
      perCodebook: result.perCodebook.dataSync(),
      norm: result.norm.dataSync()[0],
      lr: rates[0],
    };
  });
  const moments: [string, () => ArrayLike<number>][] = optimizer.state().map(([name, variable]) => {
    const [, moment, parameter] = /^(exp_avg|exp_avg_sq)\.(.+)$/.exec(name)!;
    return [`${parameter}.${moment}`, () => variable.read()];
  });
  return {
    steps,
    /** By parameter and entry: 1 where some step's gradient was rounding. */
    smallGradients,
    weights: new Map(lm.namedParameters().map(([name, variable]) => [name, () => variable.read()])),
    averages: new Map(ema.averages.map(([name, variable]) => [name, () => variable.read()])),
    moments: new Map(moments) as Results,
  };
}
