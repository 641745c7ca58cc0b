/** Config composition, compatible with Hydra 1.3 and OmegaConf 2.3: what the rest of the program uses. */
export { applyOverrides, type ComposeOptions, composeConfig } from "./compose.ts";
export {
  asTrainConfig,
  type CompressionConfig,
  compressionSchema,
  type TrainConfig,
} from "./compression-schema.ts";
export { ComposedConfig, configFromYaml, type OutputOptions } from "./config.ts";
export { UnknownKeyError } from "./merge.ts";
export { describeSource, type Source } from "./node.ts";
export { InterpolationError, MissingValueError } from "./resolve.ts";
export { type Resolver, type ResolverContext, registerResolver, unregisterResolver } from "./resolvers.ts";
export type { RunConfig } from "./run-schema.ts";
export { asMusicGenConfig, type MusicGenConfig, musicGenSchema } from "./schema.ts";
export {
  CONFIG_DIR,
  composeTrainConfig,
  PROJECT_ROOT,
  type TrainConfigOptions,
  trainArgv,
} from "./train-config.ts";
