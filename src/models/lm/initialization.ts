/** First weights of the language model. */
import { type Initializer, type InitializerStream, scaledStd, zeros } from "../../nn/index.ts";
import type { TransformerConfig } from "./config.ts";

/** Weight and bias initializers as `weight_init`, `depthwise_init` and `zero_bias_init` ask (AudioCraft's init_layer). */
export function weightInit(config: TransformerConfig, init: InitializerStream) {
  return (fanIn: number, depth: number | null): { weight?: Initializer; biasInit?: Initializer } => {
    if (config.weight_init === null) return {};
    const std = scaledStd(fanIn, depth);
    const weight =
      config.weight_init === "gaussian" ? init.truncatedNormal(std) : init.uniform(std * Math.sqrt(3));
    return config.zero_bias_init ? { weight, biasInit: zeros } : { weight };
  };
}
