/**
 * Options of the TensorFlow runtime. They must be set before anything imports `tensorflow.ts`: the context that they
 * shape is created once per process.
 */

import { UserError } from "../errors.ts";

/** How a jitted function runs: op by op, in TensorFlow's graph executor, or compiled by XLA. */
export type JitMode = "none" | "graph" | "xla";

/** `cpu` hides the GPUs; `cuda` uses the first one, where there is one; `cuda:1` the second, and there must be one. */
export type Device = "cpu" | "cuda" | `cuda:${number}`;

export interface RuntimeOptions {
  /** `auto` is `graph` on CPU and `xla` on GPU. */
  jit: JitMode | "auto";
  /** GPUs are counted as CUDA_VISIBLE_DEVICES leaves them. */
  device: Device;
  /** Take memory of the GPU as it is needed, instead of nearly all of it at the start. */
  gpuMemoryGrowth: boolean;
  /** The most memory of the GPU to take; null: all there is. */
  gpuMemoryLimitMb: number | null;
  /** Threads that one op may use; 0 lets TensorFlow use all cores. */
  intraOpThreads: number;
  /** Ops that may run at the same time; 0 lets TensorFlow choose. */
  interOpThreads: number;
  /** Whether our own CPU ops (native/kernels) take the place of compositions of TensorFlow's. */
  kernels: boolean;
}

const options: RuntimeOptions = {
  jit: "auto",
  device: "cuda",
  gpuMemoryGrowth: true,
  gpuMemoryLimitMb: null,
  intraOpThreads: 0,
  interOpThreads: 0,
  kernels: true,
};
let locked = false;

/** Sets options for the context to come. Throws once TensorFlow is loaded, except for `jit` and `kernels`, which may change any time. */
export function configureRuntime(changes: Partial<RuntimeOptions>): void {
  const contextKeys = Object.keys(changes).filter((key) => key !== "jit" && key !== "kernels");
  if (locked && contextKeys.length > 0) {
    throw new Error(`configureRuntime(${contextKeys.join(", ")}) came after TensorFlow was loaded`);
  }
  Object.assign(options, changes);
}

/** The options that a run's config has. */
export function configureFrom(cfg: {
  device: Device;
  jit?: RuntimeOptions["jit"];
  gpu?: { memory_growth: boolean; memory_limit_mb: number | null };
  transformer_lm?: { checkpointing: string };
}): void {
  const { memory_growth: gpuMemoryGrowth = true, memory_limit_mb: gpuMemoryLimitMb = null } = cfg.gpu ?? {};
  // Each op has all cores: one after the other they are as fast, and need less memory. But what is computed again for its gradient
  // then waits for its turn with all else that is ready, and stays in memory for longer.
  const interOpThreads = cfg.transformer_lm?.checkpointing === "none" ? 1 : 0;
  const { device, jit = "auto" } = cfg;
  configureRuntime({ device, jit, gpuMemoryGrowth, gpuMemoryLimitMb, interOpThreads });
}

/** @throws UserError when `text` names no device */
export function checkedDevice(text: string): Device {
  if (/^(cpu|cuda(:\d+)?)$/.test(text)) return text as Device;
  throw new UserError(`device=${text}: use cpu, cuda, or cuda:0, cuda:1, … for one of several GPUs`);
}

/** @throws UserError when `text` names no mode */
export function checkedJit(text: string): RuntimeOptions["jit"] {
  if (["auto", "none", "graph", "xla"].includes(text)) return text as RuntimeOptions["jit"];
  throw new UserError(`jit=${text}: use auto, none, graph or xla`);
}

export function runtimeOptions(): Readonly<RuntimeOptions> {
  return options;
}

/** Called by the loader: from here on the context exists. */
export function lockRuntimeOptions(): Readonly<RuntimeOptions> {
  locked = true;
  return options;
}
