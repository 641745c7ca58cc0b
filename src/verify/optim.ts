/** Optimizers, learning-rate schedules and the moving average of weights against the original implementations. */
import { Parameter } from "../nn/index.ts";
import {
  type AdamConfig,
  buildOptimizer,
  buildSchedule,
  clipByGlobalNorm,
  ExponentialMovingAverage,
  type Optimizer,
  type ScheduleConfig,
} from "../optim/index.ts";
import { jit, type Tensor, tf } from "../runtime/index.ts";
import { type Checks, check, once, worstOf } from "./check.ts";
import { maxDifference, maxRelative, relativeToLargest } from "./compare.ts";
import type { GoldenFolder } from "./folder.ts";
import { tensorOf } from "./tensors.ts";

export async function* verifyOptim(folder: GoldenFolder): Checks {
  if (folder.has("trajectories.safetensors")) yield* verifyTrajectories(folder);
  if (folder.has("schedulers.json")) yield* verifySchedules(folder);
  if (folder.has("ema.safetensors")) yield* verifyAverages(folder);
}

interface Run {
  class?: "AdamW" | "Adam" | "DAdaptAdam";
  lr: number;
  betas?: [number, number];
  weight_decay?: number;
  eps?: number;
  max_norm?: number;
  decouple?: boolean;
  growth_rate?: number;
  d0?: number;
}

const optimizerNames = { AdamW: "adamw", Adam: "adam", DAdaptAdam: "dadam" };

async function* verifyTrajectories(folder: GoldenFolder): Checks {
  const file = "trajectories";
  for (const [name, run] of Object.entries(folder.meta.runs as Record<string, Run>)) {
    const tolerance = run.class === "DAdaptAdam" ? 1e-4 : 1e-6;
    const steps = once(() => trajectory(folder, run));
    for (const quantity of ["w", "v", "loss", "d", "grad_norm"] as const) {
      const tensor = `${name}.${quantity}`;
      if (!folder.tensors(file).has(tensor)) continue;
      yield await check(tensor, tolerance, () => {
        const ours = steps().flatMap((step) => Array.from(step[quantity]));
        const expected = folder.values(file, tensor);
        // d grows by magnitudes: each of its values counts by itself
        return quantity === "d" ? maxRelative(ours, expected) : relativeToLargest(ours, expected);
      });
    }
  }
}

/** 20 steps of the golden objective 0.5 w^T A w - b.w + 3 mean((v - target)^2), with its exact gradients. */
function trajectory(folder: GoldenFolder, run: Run) {
  const read = (name: string) => tensorOf(folder, "trajectories", name);
  const w = new Parameter([...folder.tensors("trajectories").shape("w0")], () => read("w0"));
  const v = new Parameter([...folder.tensors("trajectories").shape("v0")], () => read("v0"));
  const optimizer = optimizerOf(run, [
    ["w", w],
    ["v", v],
  ]);
  const [a, b, target] = ["A", "b", "tgt"].map(read);
  const step = jit((hyper: Record<string, Tensor>) => {
    const aw = tf.matMul(a as never, w.value.expandDims(1) as never).reshape([-1]) as Tensor;
    const off = tf.sub(v.value, target);
    const loss = tf.add(
      tf.sub(tf.mul(0.5, tf.sum(tf.mul(w.value, aw))), tf.sum(tf.mul(b, w.value))),
      tf.mul(3, tf.mean(tf.square(off))),
    ) as Tensor;
    const gradients = [tf.sub(aw, b), tf.mul(off, 6 / v.size)] as Tensor[];
    const { scale, norm } = clipByGlobalNorm(gradients, run.max_norm ?? null);
    optimizer.apply(gradients, scale, hyper);
    return { loss, norm, own: optimizer.metrics() };
  });
  const count = folder.tensors("trajectories").names.filter((name) => name.endsWith(".loss"))[0];
  return Array.from({ length: folder.tensors("trajectories").shape(count)[0] }, () => {
    const hyper = Object.fromEntries(
      Object.entries(optimizer.nextHyper(run.lr)).map(([key, x]) => [key, tf.scalar(x) as Tensor]),
    );
    const { loss, norm, own } = step(hyper);
    return {
      w: w.read(),
      v: v.read(),
      loss: loss.dataSync(),
      grad_norm: norm.dataSync(),
      d: own[0]?.dataSync() ?? [],
    };
  });
}

/** The original classes' own defaults stand in for what a run leaves out. */
function optimizerOf(run: Run, parameters: [string, Parameter][]): Optimizer {
  const name = optimizerNames[run.class ?? "AdamW"];
  const { betas = [0.9, 0.999], weight_decay = name === "adamw" ? 0.01 : 0, eps = 1e-8 } = run;
  const { decouple, growth_rate, d0 } = run;
  const config: AdamConfig = { betas, weight_decay, eps, decouple, growth_rate, d0 };
  return buildOptimizer(name, parameters, config);
}

async function* verifySchedules(folder: GoldenFolder): Checks {
  type Golden = { config: ScheduleConfig; total_updates: number; base_lr: number; lrs: number[] };
  for (const [name, golden] of Object.entries(folder.json<Record<string, Golden>>("schedulers.json"))) {
    yield await check(`schedule ${name}`, 1e-12, () => {
      const { exponential, ...config } = golden.config;
      // the original takes the whole section as the decay; ours is the key that the section documents
      const decay = typeof exponential === "number" ? { lr_decay: exponential } : exponential;
      const schedule = buildSchedule({ ...config, exponential: decay }, golden.base_lr, golden.total_updates);
      return maxDifference(
        golden.lrs.map((_, step) => schedule(step)),
        golden.lrs,
      );
    });
  }
}

/** Files hold `init.KEY`, and `NAME.model_stepI.KEY` with `NAME.ema_stepI.KEY`; NAME says unbiased or not, and the decay. */
async function* verifyAverages(folder: GoldenFolder): Checks {
  const file = folder.tensors("ema");
  const runs = new Set(file.names.flatMap((name) => /^(.*)\.ema_step\d+\./.exec(name)?.[1] ?? []));
  for (const name of runs) {
    yield await check(`ema ${name}`, 1e-6, () => {
      const { decay, unbias } = (folder.meta[`ema_${name}`] ?? {}) as { decay?: number; unbias?: boolean };
      const keys = file.names.flatMap((n) =>
        n.startsWith(`${name}.ema_step0.`) ? n.split("_step0.")[1] : [],
      );
      const parameters = keys.map((key): [string, Parameter] => [
        key,
        new Parameter([...file.shape(`init.${key}`)], () => tensorOf(folder, "ema", `init.${key}`)),
      ]);
      const ema = new ExponentialMovingAverage(
        parameters,
        decay ?? Number(/[\d.]+$/.exec(name)![0]),
        unbias ?? name.startsWith("unbias"),
      );
      const step = jit((weight: Tensor) => ema.apply(weight));
      const errors: [string, number][] = [];
      for (let i = 0; file.has(`${name}.ema_step${i}.${keys[0]}`); i++) {
        for (const [key, parameter] of parameters) {
          parameter.load(file.readFloat32(`${name}.model_step${i}.${key}`));
        }
        step(tf.scalar(ema.nextWeight()));
        for (const [key, average] of ema.averages) {
          const expected = file.readFloat32(`${name}.ema_step${i}.${key}`);
          errors.push([`step ${i} ${key}`, relativeToLargest(average.read(), expected)]);
        }
      }
      return worstOf(errors);
    });
  }
}
