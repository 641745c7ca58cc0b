/** Neural-network parts that know nothing of music. */
export {
  type AttentionOptions,
  attention,
  maskedScore,
  type ProjectedAttentionOptions,
  projectedAttention,
} from "./attention.ts";
export { CompressedWeight } from "./compressed_weight.ts";
export { dropout, withDropout } from "./dropout.ts";
export { fingerprint } from "./fingerprint.ts";
export * from "./functional.ts";
export { constant, type Initializer, InitializerStream, ones, scaledStd, zeros } from "./initializers.ts";
export { Embedding, LayerNorm, Linear, linearWith } from "./layers.ts";
export { linear, matMul } from "./linear.ts";
export { Module, Parameter } from "./module.ts";
export { type Constants, type Part, recomputed } from "./recompute.ts";
export { type LoadOptions, loadState, stateOf, type TensorSource } from "./state.ts";
export { WEIGHT_TYPES, type WeightType } from "./weight_types.ts";
