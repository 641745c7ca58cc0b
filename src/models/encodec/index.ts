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
export { type LoadCodecOptions, loadCompressionModel } from "./load.ts";
export { EncodecNetwork } from "./model.ts";
export { type AudioBatch, EncodecModel, type EncodedBatch, type EncodeOptions } from "./pretrained.ts";
export { hfName, loadEncodec } from "./weights.ts";
