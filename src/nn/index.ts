/** Neural-network parts that know nothing of music. */
export { dropout, withDropout } from "./dropout.ts";
export { fingerprint } from "./fingerprint.ts";
export * from "./functional.ts";
export { constant, type Initializer, InitializerStream, ones, scaledStd, zeros } from "./initializers.ts";
export { Embedding, LayerNorm, Linear } from "./layers.ts";
export { Module, Parameter } from "./module.ts";
export { type Constants, type Part, recomputed } from "./recompute.ts";
export { type LoadOptions, loadState, stateOf, type TensorSource } from "./state.ts";
