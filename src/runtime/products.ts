/** Who multiplies matrices: TensorFlow or our own ops (native/kernels/gemm_ops.cc). Decided by the processor, never by timing. */
import { autocastType, productsAreOurs } from "./autocast.ts";
import { hasKernels } from "./jit.ts";

/** Whether products that are now computed or traced are for our own ops. */
export function ownProducts(): boolean {
  return productsAreOurs(hasKernels());
}

/** Whether our own ops must round operands and results to bfloat16 now. */
export function roundsProducts(): boolean {
  return autocastType() === "bfloat16";
}
