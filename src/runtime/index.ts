/** The runtime: TensorFlow under tfjs, jit, variables, precision, gradients, random draws. */
export { withoutFragmentation } from "./allocation.ts";
export { type AutocastType, autocast, autocastType } from "./autocast.ts";
export { chromeTrace } from "./chrome_trace.ts";
export { pullBack, seededGradients, valueAndGradientAt, valueAndGradients } from "./gradients.ts";
export { runInPlace } from "./in_place.ts";
export { computeAfter, hasKernels, inTurn, type Jitted, jit } from "./jit.ts";
export { type LoopOptions, whileLoop } from "./loop.ts";
export type { TypedArray } from "./native.ts";
export { type OpTime, opTable, opTimes, percent } from "./op_times.ts";
export { attr, runKernel, runOp } from "./ops.ts";
export { configureRuntime, type JitMode, runtimeOptions } from "./options.ts";
export { ownProducts, roundsProducts } from "./products.ts";
export { Profiler, profile, type Trace } from "./profile.ts";
export { TraceError } from "./recorder.ts";
export {
  isGpu,
  realBinding,
  type Scalar,
  scoped,
  type Tensor,
  Tensor_,
  type Tensor1D,
  type Tensor2D,
  type Tensor3D,
  type Tensor4D,
  tf,
} from "./tensorflow.ts";
export { runUpdate, Variable, type VariableType, zerosVariable } from "./variable.ts";
