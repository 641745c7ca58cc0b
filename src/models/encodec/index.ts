/** EnCodec: the model, its builders from configs, its weights, and its use as a codec. */
export { EncodecCompressionModel } from "./compression.ts";
export {
  buildEncodec,
  buildHfEncodec,
  type EncodecOptions,
  encodecOptions,
  hfEncodecOptions,
} from "./config.ts";
export { debugEncodec } from "./debug.ts";
export { loadCompressionModel } from "./load.ts";
export { EncodecModel } from "./model.ts";
export { hfName, loadEncodec } from "./weights.ts";
