/** The composed config of a MusicGen in Hugging Face's layout: what config.json and generation_config.json say, in our keys. */
import { isAbsolute } from "node:path";
import { type ComposedConfig, composeTrainConfig } from "../../config/index.ts";
import { UserError } from "../../errors.ts";
import { hfEncodecOptions } from "../encodec/config.ts";

/** Parsed JSON. */
export type Json = Record<string, unknown>;

/** transformers' `model_type`s, by whether the conditions are attended to or put before the sequence. */
export const MODEL_TYPES = ["musicgen", "musicgen_melody"];

/** Where the files are: for messages, and as the config's name of the model whose text encoder and codec are used. */
export interface HfSource {
  /** "org/name", or the absolute path of a folder. */
  repository: string;
  /** Of config.json. */
  path: string;
  /** Parsed preprocessor_config.json, which describes a melody's chroma. */
  preprocessor?: Json;
}

/**
 * Hugging Face's decoder is AudioCraft's transformer_lm with pre-norm, sinusoids, no biases and the delay pattern; sizes are
 * read. The text encoder and the codec in the same files are named by `conditioners.description.t5.name` and
 * `compression_model_checkpoint`.
 *
 * Defaults of generation are those of the folder's generation_config.json: `do_sample`, `temperature`, `top_k` (transformers'
 * own default is 50; AudioCraft's 250), `top_p`, `guidance_scale` (3) and `max_length`, the steps of the trained duration.
 * @throws UserError for what isn't built, by the name that it has in config.json
 */
export function hfMusicGenConfig(config: Json, generation: Json, source: HfSource): ComposedConfig {
  const { path, repository } = source;
  const melody = config.model_type === "musicgen_melody";
  if (!MODEL_TYPES.includes(config.model_type as string)) {
    throw new UserError(
      `${path}: a model of type ${MODEL_TYPES.join(" or ")} expected, not ${config.model_type}`,
    );
  }
  const read = reader(section(config, "decoder", path), `${path}: decoder`);
  const { sampleRate, frameRate } = hfEncodecOptions(section(config, "audio_encoder", path), path);
  section(config, "text_encoder", path);
  const dim = read.size("hidden_size", 1024);
  const ffn = read.size("ffn_dim", 4096);
  const nQ = read.size("num_codebooks", 4);
  const channels = read.size("audio_channels", 1);
  const activation = read.text("activation_function", "gelu");
  if (read.flag("scale_embedding", false))
    throw new UserError(`${path}: decoder.scale_embedding=true is not built`);
  if (activation !== "gelu" && activation !== "relu") {
    throw new UserError(`${path}: decoder.activation_function=${activation} is not built; gelu and relu are`);
  }
  if (channels > 2 || nQ % channels !== 0) {
    throw new UserError(`${path}: decoder.audio_channels=${channels} do not share num_codebooks=${nQ}`);
  }
  const perChannel = nQ / channels;
  const delays = Array.from({ length: nQ }, (_, k) => Math.floor(k / channels));
  const solver = melody ? "musicgen/musicgen_melody_32khz" : "musicgen/musicgen_base_32khz";
  return composeTrainConfig([`solver=${solver}`]).merged({
    sample_rate: sampleRate,
    channels,
    compression_model_checkpoint: isAbsolute(repository) ? repository : `//pretrained/${repository}`,
    compression_model_n_q: perChannel,
    interleave_stereo_codebooks: { use: channels === 2, per_timestep: false },
    transformer_lm: {
      dim,
      num_heads: read.size("num_attention_heads", 16),
      num_layers: read.size("num_hidden_layers", 24),
      hidden_scale: hiddenScale(dim, ffn),
      n_q: nQ,
      card: read.size("vocab_size", 2048),
      activation,
      cross_attention: !melody,
      // transformers hides padded texts from cross-attention; where texts are put before the sequence, it does not
      cross_attention_mask: !melody,
    },
    codebooks_pattern: { modeling: "delay", delay: { delays, flatten_first: 0, empty_initial: 0 } },
    conditioners: {
      description: { t5: { name: repository } },
      ...(melody ? { self_wav: { chroma_stem: chromaOptions(config, source, sampleRate) } } : {}),
    },
    dataset: { segment_duration: trainedSeconds(generation, frameRate) },
    ...generationDefaults(generation),
  });
}

/** The melody's spectrogram is described by preprocessor_config.json; every melody is brought to `chroma_length` frames. */
function chromaOptions(config: Json, { path, preprocessor = {} }: HfSource, sampleRate: number): Json {
  const { size } = reader(config, path);
  const read = reader(preprocessor, "preprocessor_config.json");
  const nFft = read.size("n_fft", 16384);
  return {
    sample_rate: read.size("sampling_rate", sampleRate),
    n_chroma: size("num_chroma", 12),
    argmax: true,
    radix2_exp: Math.ceil(Math.log2(nFft)),
    nfft: nFft,
    winlen: nFft,
    winhop: read.size("hop_length", nFft / 4),
    chroma_length: size("chroma_length", 235),
    match_len_on_eval: true,
  };
}

/** `max_length` counts steps of generation: the frames of the trained duration. */
function trainedSeconds(generation: Json, frameRate: number): number {
  const length = generation.max_length;
  return typeof length === "number" && length > 0 ? length / frameRate : 30;
}

function generationDefaults(generation: Json): Json {
  const number = (key: string, absent: number) =>
    typeof generation[key] === "number" ? (generation[key] as number) : absent;
  const topP = number("top_p", 1);
  return {
    classifier_free_guidance: { inference_coef: number("guidance_scale", 3) },
    generate: {
      lm: {
        use_sampling: generation.do_sample !== false,
        temp: number("temperature", 1),
        top_k: number("top_k", 50),
        top_p: topP < 1 ? topP : 0,
      },
    },
  };
}

/** The scale whose product with `dim`, cut to a whole number, is `ffn`. */
function hiddenScale(dim: number, ffn: number): number {
  const scale = ffn / dim;
  return Math.trunc(scale * dim) === ffn ? scale : (ffn + 0.5) / dim;
}

function section(config: Json, key: string, path: string): Json {
  const found = config[key];
  if (typeof found === "object" && found !== null && !Array.isArray(found)) return found as Json;
  throw new UserError(`${path} has no section "${key}"`);
}

/** Reads values of a section; absent keys have the defaults of transformers' class. */
function reader(from: Json, where: string) {
  function read<T>(key: string, absent: T, expected: string, fits: (value: unknown) => boolean): T {
    const value = from[key] ?? absent;
    if (fits(value)) return value as T;
    throw new UserError(`${where}.${key} must be ${expected}, not ${JSON.stringify(value)}`);
  }
  return {
    size: (key: string, absent: number) =>
      read(key, absent, "a positive integer", (v) => Number.isInteger(v) && (v as number) > 0),
    text: (key: string, absent: string) => read(key, absent, "a text", (v) => typeof v === "string"),
    flag: (key: string, absent: boolean) => read(key, absent, "true or false", (v) => typeof v === "boolean"),
  };
}
