/** What this processor is good at. */
import { addon } from "./tensorflow.ts";

const features = new Set(addon.processorFeatures());
const has = (...names: string[]) => names.every((name) => features.has(name));

/**
 * Whether our own matrix products are faster than TensorFlow's in float32. They are on x86 with AVX2, where TensorFlow's reach 50
 * to 75 % of what the hardware can and ours 90. On Intel's processors with AVX-512 TensorFlow's are oneDNN's, machine code made
 * for them; on other architectures ours have not been measured.
 */
export const fasterProducts = has("avx2", "fma") && !has("intel", "avx512f");

/** Units that multiply bfloat16, which TensorFlow's products use and ours don't. */
export const bfloat16Units = has("avx512_bf16") || has("amx_bf16");
