/**
 * Options of the TensorFlow runtime. They must be set before anything imports `tensorflow.ts`: the context that they
 * shape is created once per process.
 */

/** How a jitted function runs: op by op, in TensorFlow's graph executor, or compiled by XLA. */
export type JitMode = "none" | "graph" | "xla";

export interface RuntimeOptions {
  /** `auto` is `graph` on CPU and `xla` on GPU. */
  jit: JitMode | "auto";
  /** `cpu` hides the GPUs; `cuda` uses one where there is one. */
  device: "cpu" | "cuda";
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

export function runtimeOptions(): Readonly<RuntimeOptions> {
  return options;
}

/** Called by the loader: from here on the context exists. */
export function lockRuntimeOptions(): Readonly<RuntimeOptions> {
  locked = true;
  return options;
}
