/** How functions of a codec are executed. */
import { type JitMode, runtimeOptions } from "../../runtime/index.ts";

/** XLA has no kernel for the LSTM op, and compiles one of single ops for minutes. */
export function codecJitMode(): JitMode {
  return runtimeOptions().jit === "none" ? "none" : "graph";
}
