/**
 * Loads TensorFlow.js on a current TensorFlow, once per process, at import. Set the options (options.ts) before.
 *
 * Everything above the runtime takes `tf` and the tensor types from here.
 */
import { createRequire } from "node:module";
import util from "node:util";
import type * as TensorFlow from "@tensorflow/tfjs-node-gpu";
import { keepFreedMemory } from "./allocation.ts";
import { contextConfig } from "./context_config.ts";
import { checkGpuIsThere, checkGpuNumber, visibleGpus } from "./gpus.ts";
import { type Binding, loadNativeAddon, type TensorMetadata } from "./native.ts";
import { lockRuntimeOptions } from "./options.ts";

export type Tensor = TensorFlow.Tensor;
export type Tensor1D = TensorFlow.Tensor1D;
export type Tensor2D = TensorFlow.Tensor2D;
export type Tensor3D = TensorFlow.Tensor3D;
export type Tensor4D = TensorFlow.Tensor4D;
export type Scalar = TensorFlow.Scalar;

restoreRemovedUtil();
process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";

const options = lockRuntimeOptions();
checkGpuNumber(options.device, visibleGpus());

/** Our addon: graphs and functions. */
export const addon = loadNativeAddon();
addon.configure(contextConfig(options));
addon.setThreads(options.intraOpThreads);
keepFreedMemory(addon);

/** TensorFlow.js with its tensorflow backend. */
export const tf = createRequire(import.meta.url)("@tensorflow/tfjs-node-gpu") as typeof TensorFlow;
tf.enableProdMode();

/** The class of tensors, for instanceof. */
export const Tensor_ = tf.Tensor;

/** tfjs's node backend, seen from below: tensors have integer ids in `binding`, which a trace replaces. */
export interface NodeBackend {
  binding: Binding;
  getInputTensorIds(tensors: Tensor[]): number[];
  createOutputTensor(metadata: TensorMetadata): Tensor;
}

export const backend = tf.backend() as unknown as NodeBackend;

/** The binding that computes, whatever `backend.binding` is at the moment. */
export const realBinding: Binding = backend.binding;

/** A binding that does what the real one does, except for `changes` (the real one's properties can't be replaced). */
export function bindingWith(changes: Partial<Binding>): Binding {
  const copy: Record<string, unknown> = {};
  for (const name of Object.getOwnPropertyNames(realBinding)) {
    copy[name] = (realBinding as unknown as Record<string, unknown>)[name];
  }
  return { ...copy, ...changes } as unknown as Binding;
}

/**
 * Runs `f`, which returns host values, and disposes of every tensor made in it. (tf.tidy would look for tensors in what is
 * returned, element by element: 0.4 s for an array of a million numbers.)
 */
export function scoped<T>(f: () => T): T {
  tf.engine().startScope();
  try {
    return f();
  } finally {
    tf.engine().endScope();
  }
}

export const isGpu: boolean = realBinding.isUsingGpuDevice();

/** Whether this process may use our own ops (native/kernels), which are for CPUs. */
export function kernelsAllowed(): boolean {
  return !isGpu && options.kernels;
}
checkGpuIsThere(options.device, isGpu);

/** Node 23 removed functions of `util` that tfjs-node 4.22 still calls. */
function restoreRemovedUtil(): void {
  const target = util as unknown as Record<string, unknown>;
  target.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  target.isArray ??= Array.isArray;
}
