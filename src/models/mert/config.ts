/** The shape of a MERT model, read from the config.json beside its weights. */
import { UserError } from "../../errors.ts";

export interface MertConfig {
  /** Per convolution of the feature extractor: channels, kernel size, stride. */
  convolutions: { channels: number; kernel: number; stride: number }[];
  convBias: boolean;
  /** Whether the extracted features are normalised before they are projected. */
  normalizesFeatures: boolean;
  hiddenSize: number;
  numLayers: number;
  numHeads: number;
  feedForwardSize: number;
  /** Kernel size and groups of the convolution that stands for positions. */
  positionKernel: number;
  positionGroups: number;
  epsilon: number;
  /** Samples per second of the audio that it takes. */
  sampleRate: number;
}

/** Variants that another MERT or HuBERT has and MERT-v1-95M has not: key -> the value that is built. */
const BUILT: Record<string, unknown> = {
  feat_extract_norm: "group",
  feat_extract_activation: "gelu",
  hidden_act: "gelu",
  do_stable_layer_norm: false,
  feature_extractor_cqt: false,
  deepnorm: false,
  conv_pos_batch_norm: false,
};

/**
 * Reads a Hugging Face config.json (parsed) of a MERT or HuBERT. Absent keys have the values of HuBERT base, as there.
 * @param path where it came from, for messages
 * @throws UserError when it is the config of another model, or of a variant that is not built
 */
export function parseMertConfig(json: unknown, path: string): MertConfig {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new UserError(`${path}: not a model's config.json`);
  }
  const config = json as Record<string, unknown>;
  const type = config.model_type ?? "mert_model";
  if (type !== "mert_model" && type !== "hubert") {
    throw new UserError(`${path}: a MERT or HuBERT model expected, this is ${JSON.stringify(type)}`);
  }
  for (const [key, built] of Object.entries(BUILT)) {
    const value = config[key] ?? built;
    if (value !== built) {
      throw new UserError(
        `${path}: ${key}=${JSON.stringify(value)} is not built; MERT-v1-95M, with ${key}=${JSON.stringify(built)}, is`,
      );
    }
  }
  if (typeof config.attention_relax === "number" && config.attention_relax > 0) {
    throw new UserError(`${path}: attention_relax=${config.attention_relax} is not built`);
  }
  const isSize = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 0;
  const size = (key: string, absent: number): number => {
    const value = config[key] ?? absent;
    if (isSize(value)) return value;
    throw new UserError(`${path}: ${key} must be a positive integer, got ${JSON.stringify(value)}`);
  };
  const sizes = (key: string, absent: number[]): number[] => {
    const value = config[key] ?? absent;
    if (Array.isArray(value) && value.length > 0 && value.every(isSize)) return value;
    throw new UserError(`${path}: ${key} must be a list of positive integers, got ${JSON.stringify(value)}`);
  };
  const channels = sizes("conv_dim", [512, 512, 512, 512, 512, 512, 512]);
  const kernels = sizes("conv_kernel", [10, 3, 3, 3, 3, 2, 2]);
  const strides = sizes("conv_stride", [5, 2, 2, 2, 2, 2, 2]);
  if (kernels.length !== channels.length || strides.length !== channels.length) {
    throw new UserError(`${path}: conv_dim, conv_kernel and conv_stride differ in length`);
  }
  const result: MertConfig = {
    convolutions: channels.map((count, i) => ({ channels: count, kernel: kernels[i], stride: strides[i] })),
    convBias: config.conv_bias === true,
    normalizesFeatures: config.feat_proj_layer_norm !== false,
    hiddenSize: size("hidden_size", 768),
    numLayers: size("num_hidden_layers", 12),
    numHeads: size("num_attention_heads", 12),
    feedForwardSize: size("intermediate_size", 3072),
    positionKernel: size("num_conv_pos_embeddings", 128),
    positionGroups: size("num_conv_pos_embedding_groups", 16),
    epsilon: typeof config.layer_norm_eps === "number" ? config.layer_norm_eps : 1e-5,
    sampleRate: size("sample_rate", 24000),
  };
  for (const divisor of ["numHeads", "positionGroups"] as const) {
    if (result.hiddenSize % result[divisor] !== 0) {
      throw new UserError(`${path}: hidden_size ${result.hiddenSize} does not divide by ${result[divisor]}`);
    }
  }
  return result;
}

/** Frames that `samples` samples give: valid convolutions, one after the other. */
export function mertFrames({ convolutions }: Pick<MertConfig, "convolutions">, samples: number): number {
  return convolutions.reduce(
    (length, { kernel, stride }) => Math.max(0, Math.floor((length - kernel) / stride) + 1),
    samples,
  );
}
