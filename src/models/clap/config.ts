/** The shape of a CLAP model: from a Hugging Face config.json, or by the name that laion_clap gives to an architecture. */
import { UserError } from "../../errors.ts";

export interface ClapAudioConfig {
  /** Side of the square image that a spectrogram is folded into. */
  specSize: number;
  numMelBins: number;
  patchSize: number;
  patchStride: number;
  /** Channels of the first stage; every next one has twice as many. */
  dim: number;
  normalizesPatches: boolean;
  /** Blocks and heads of each stage. */
  depths: number[];
  numHeads: number[];
  windowSize: number;
  qkvBias: boolean;
  mlpRatio: number;
  epsilon: number;
}

export interface ClapTextConfig {
  vocabSize: number;
  hiddenSize: number;
  numLayers: number;
  numHeads: number;
  feedForwardSize: number;
  maxPositions: number;
  tokenTypes: number;
  padId: number;
  epsilon: number;
}

export interface ClapConfig {
  audio: ClapAudioConfig;
  text: ClapTextConfig;
  /** Size of the embeddings that audio and text share. */
  projectionDim: number;
  projectionActivation: "relu" | "gelu";
}

/** Channels after the last stage. */
export function audioFeatures({ dim, depths }: ClapAudioConfig): number {
  return dim * 2 ** (depths.length - 1);
}

/** laion_clap's architectures: channels of the first stage, and depths. */
const ARCHITECTURES: Record<string, { dim: number; depths: number[] }> = {
  "HTSAT-tiny": { dim: 96, depths: [2, 2, 6, 2] },
  "HTSAT-base": { dim: 128, depths: [2, 2, 12, 2] },
  "HTSAT-large": { dim: 256, depths: [2, 2, 12, 2] },
};

/** The config of a `model_arch` of laion_clap, with RoBERTa base for text. @throws UserError for an unknown one */
export function clapArchitecture(name: string): ClapConfig {
  const architecture = Object.hasOwn(ARCHITECTURES, name) ? ARCHITECTURES[name] : null;
  if (architecture === null) {
    throw new UserError(
      `model_arch=${name} is not built; use one of ${Object.keys(ARCHITECTURES).join(", ")}`,
    );
  }
  const { audio, ...rest } = parseClapConfig(
    { model_type: "clap", text_config: { layer_norm_eps: 1e-5 }, audio_config: { hidden_size: null } },
    name,
  );
  return { ...rest, audio: { ...audio, ...architecture } };
}

/**
 * Reads a Hugging Face config.json (parsed) of a CLAP model. Absent keys have the values that they have there.
 * @param path where it came from, for messages
 * @throws UserError when it is the config of another model, or of a variant that is not built
 */
export function parseClapConfig(json: unknown, path: string): ClapConfig {
  const root = new Section(json, path);
  root.mustBe("model_type", ["clap"]);
  const audio = new Section(root.values.audio_config ?? {}, `${path}: audio_config`);
  const text = new Section(root.values.text_config ?? {}, `${path}: text_config`);
  audio.mustBe("enable_fusion", [false]);
  audio.mustBe("hidden_act", ["gelu"]);
  audio.mustBe("patch_embed_input_channels", [1]);
  text.mustBe("hidden_act", ["gelu"]);
  text.mustBe("position_embedding_type", ["absolute"]);
  root.mustBe("projection_hidden_act", ["relu", "gelu"]);

  const audioConfig: ClapAudioConfig = {
    specSize: audio.size("spec_size", 256),
    numMelBins: audio.size("num_mel_bins", 64),
    patchSize: audio.size("patch_size", 4),
    patchStride: audio.both("patch_stride", 4),
    dim: audio.size("patch_embeds_hidden_size", 96),
    normalizesPatches: audio.values.enable_patch_layer_norm !== false,
    depths: audio.sizes("depths", [2, 2, 6, 2]),
    numHeads: audio.sizes("num_attention_heads", [4, 8, 16, 32]),
    windowSize: audio.size("window_size", 8),
    qkvBias: audio.values.qkv_bias !== false,
    mlpRatio: audio.number("mlp_ratio", 4),
    epsilon: audio.number("layer_norm_eps", 1e-5),
  };
  const found = audio.values.hidden_size ?? audioFeatures(audioConfig);
  if (found !== audioFeatures(audioConfig)) {
    throw new UserError(
      `${path}: audio_config.hidden_size ${found} is not the size ${audioFeatures(audioConfig)} after its last stage`,
    );
  }
  if (audioConfig.specSize % audioConfig.numMelBins !== 0) {
    throw new UserError(`${path}: audio_config.spec_size does not divide by num_mel_bins`);
  }
  return {
    audio: audioConfig,
    text: {
      vocabSize: text.size("vocab_size", 50265),
      hiddenSize: text.size("hidden_size", 768),
      numLayers: text.size("num_hidden_layers", 12),
      numHeads: text.size("num_attention_heads", 12),
      feedForwardSize: text.size("intermediate_size", 3072),
      maxPositions: text.size("max_position_embeddings", 514),
      tokenTypes: text.size("type_vocab_size", 1),
      padId: text.number("pad_token_id", 1),
      epsilon: text.number("layer_norm_eps", 1e-12),
    },
    projectionDim: root.size("projection_dim", 512),
    projectionActivation: root.values.projection_hidden_act === "gelu" ? "gelu" : "relu",
  };
}

/** Reads values of one object of a config.json. */
class Section {
  readonly values: Record<string, unknown>;
  private readonly path: string;

  constructor(values: unknown, path: string) {
    if (typeof values !== "object" || values === null || Array.isArray(values)) {
      throw new UserError(`${path}: not a model's config.json`);
    }
    this.values = values as Record<string, unknown>;
    this.path = path;
  }

  mustBe(key: string, built: readonly unknown[]): void {
    const value = this.values[key] ?? built[0];
    if (built.includes(value)) return;
    throw new UserError(
      `${this.path}: ${key}=${JSON.stringify(value)} is not built; ${built.join(" or ")} is`,
    );
  }

  number(key: string, absent: number): number {
    const value = this.values[key] ?? absent;
    if (typeof value === "number" && value >= 0) return value;
    throw new UserError(`${this.path}: ${key} must be a number, got ${JSON.stringify(value)}`);
  }

  size(key: string, absent: number): number {
    const value = this.number(key, absent);
    if (Number.isInteger(value) && value > 0) return value;
    throw new UserError(`${this.path}: ${key} must be a positive integer, got ${value}`);
  }

  sizes(key: string, absent: number[]): number[] {
    const value = this.values[key] ?? absent;
    if (Array.isArray(value) && value.every((item) => Number.isInteger(item) && item > 0)) return value;
    throw new UserError(`${this.path}: ${key} must be a list of positive integers`);
  }

  /** A size, or a list of the same size for both axes. */
  both(key: string, absent: number): number {
    const value = this.values[key] ?? absent;
    if (!Array.isArray(value)) return this.size(key, absent);
    const [first, second] = this.sizes(key, []);
    if (first === second) return first;
    throw new UserError(
      `${this.path}: ${key}=${JSON.stringify(value)} is not built; use the same for both axes`,
    );
  }
}
