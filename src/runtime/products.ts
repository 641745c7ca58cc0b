/** Who multiplies matrices: TensorFlow or our own ops (native/kernels/gemm_ops.cc). Decided by the processor, never by timing. */
import { autocastType } from "./autocast.ts";
import { hasKernels } from "./jit.ts";
import { addon } from "./tensorflow.ts";

const features = new Set(addon.processorFeatures());
const has = (...names: string[]) => names.every((name) => features.has(name));

/**
 * Ours on x86 with AVX2, where TensorFlow's products reach 50 to 75 % of the hardware and ours 90. On Intel's processors with
 * AVX-512 TensorFlow's are oneDNN's, written in machine code for them and as good as can be had; on other architectures our
 * loops have not been measured.
 */
const oursAreFaster = has("avx2", "fma") && !has("intel", "avx512f");

/** Units that multiply bfloat16, which TensorFlow uses and our ops don't. */
const bfloat16Units = has("avx512_bf16") || has("amx_bf16");

/** Whether the product that is now computed or traced is for our own ops. */
export function ownProducts(): boolean {
  if (!oursAreFaster || !hasKernels()) return false;
  return autocastType() === null || (autocastType() === "bfloat16" && !bfloat16Units);
}

/**
 * Whether our own ops must round operands and results to bfloat16 now: on processors without units for it, autocast is rounding
 * on the way into a float32 product, which costs nothing, instead of casts before and after.
 */
export function roundsProducts(): boolean {
  return autocastType() === "bfloat16";
}
