/** How the steps of codecs are executed. */
import { type JitMode, runtimeOptions } from "../runtime/index.ts";

/** XLA has no kernel for the LSTM op. */
export function codecJitMode(): JitMode {
  return runtimeOptions().jit === "none" ? "none" : "graph";
}
