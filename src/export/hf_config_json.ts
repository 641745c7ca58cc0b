/** config.json and its neighbours of Hugging Face's classes, for our models. */
import type { MusicGenConfig } from "../config/index.ts";
import type { EncodecOptions } from "../models/encodec/config.ts";
import { codebooksOf } from "../models/encodec/config.ts";
import type { T5Config } from "../models/t5/config.ts";
import { chromaLength, chromaOf, hopOf, isMelody, windowOf } from "./melody.ts";

type Json = Record<string, unknown>;

/** transformers' EncodecConfig. `codebooks`: how many of the codec's go into the file. */
export function encodecConfigJson(options: EncodecOptions, codebooks: number): Json {
  const { decoder, quantizer, chunk, sampleRate } = options;
  const bandwidths =
    options.bandwidths !== null && codebooks === quantizer.codebooks
      ? options.bandwidths
      : [bandwidthOf(options, codebooks)];
  return {
    model_type: "encodec",
    audio_channels: options.channels,
    chunk_length_s: chunk === null ? null : chunk.length / sampleRate,
    overlap: chunk === null ? null : 1 - chunk.stride / chunk.length,
    codebook_dim: quantizer.dimension,
    codebook_size: quantizer.bins,
    compress: decoder.compress,
    dilation_growth_rate: decoder.dilationBase,
    hidden_size: decoder.dimension,
    kernel_size: decoder.kernelSize,
    last_kernel_size: decoder.lastKernelSize,
    norm_type: decoder.norm,
    normalize: options.renormalize,
    num_filters: decoder.nFilters,
    num_lstm_layers: decoder.lstm,
    num_residual_layers: decoder.nResidualLayers,
    pad_mode: decoder.padMode,
    residual_kernel_size: decoder.residualKernelSize,
    sampling_rate: sampleRate,
    target_bandwidths: bandwidths,
    trim_right_ratio: decoder.trimRightRatio,
    upsampling_ratios: decoder.ratios,
    use_causal_conv: decoder.causal,
    use_conv_shortcut: !decoder.trueSkip,
  };
}

/** kbit/s from which transformers counts so many codebooks: at least their own bits, and rounded where the division is. */
function bandwidthOf({ frameRate, quantizer }: EncodecOptions, codebooks: number): number {
  const bits = Math.ceil(Math.log2(quantizer.bins));
  const exact = (codebooks * bits * frameRate) / 1000;
  return codebooksOf(exact, frameRate, bits) === codebooks ? exact : exact * (1 + 2 ** -40);
}

/** transformers' T5Config of an encoder alone. */
export function t5ConfigJson(config: T5Config): Json {
  const gated = config.feedForward === "gated-gelu";
  return {
    model_type: "t5",
    vocab_size: config.vocabSize,
    d_model: config.dModel,
    d_kv: config.dKv,
    d_ff: config.dFf,
    num_layers: config.numLayers,
    num_heads: config.numHeads,
    relative_attention_num_buckets: config.numBuckets,
    relative_attention_max_distance: config.maxDistance,
    layer_norm_epsilon: config.epsilon,
    feed_forward_proj: config.feedForward,
    dense_act_fn: gated ? "gelu_new" : "relu",
    is_gated_act: gated,
    is_encoder_decoder: false,
    use_cache: false,
    pad_token_id: 0,
    eos_token_id: 1,
  };
}

export interface HfParts {
  cfg: MusicGenConfig;
  text: T5Config;
  codec: EncodecOptions;
  /** torch's name of the floating type. */
  dtype: string;
}

/** config.json of the whole model. */
export function musicGenConfigJson({ cfg, text, codec, dtype }: HfParts): Json {
  const lm = cfg.transformer_lm;
  const melody = isMelody(cfg);
  const channels = cfg.interleave_stereo_codebooks.use ? 2 : 1;
  return {
    architectures: [melody ? "MusicgenMelodyForConditionalGeneration" : "MusicgenForConditionalGeneration"],
    model_type: melody ? "musicgen_melody" : "musicgen",
    is_encoder_decoder: !melody,
    torch_dtype: dtype,
    ...(melody ? { num_chroma: chromaOf(cfg).n_chroma ?? 12, chroma_length: chromaLength(cfg) } : {}),
    text_encoder: t5ConfigJson(text),
    audio_encoder: encodecConfigJson(codec, lm.n_q / channels),
    decoder: {
      model_type: melody ? "musicgen_melody_decoder" : "musicgen_decoder",
      vocab_size: lm.card,
      max_position_embeddings: 2048,
      num_hidden_layers: lm.num_layers,
      ffn_dim: Math.trunc(lm.hidden_scale * lm.dim),
      num_attention_heads: lm.num_heads,
      hidden_size: lm.dim,
      activation_function: lm.activation,
      dropout: lm.dropout ?? 0,
      attention_dropout: lm.attention_dropout ?? lm.dropout ?? 0,
      activation_dropout: 0,
      layerdrop: 0,
      use_cache: true,
      scale_embedding: false,
      num_codebooks: lm.n_q,
      audio_channels: channels,
      pad_token_id: lm.card,
      bos_token_id: lm.card,
      tie_word_embeddings: false,
    },
  };
}

/** generation_config.json: how the model's own config says to generate. */
export function generationConfigJson(cfg: MusicGenConfig, frameRate: number): Json {
  const { use_sampling, temp, top_k, top_p } = cfg.generate.lm;
  const { card } = cfg.transformer_lm;
  return {
    bos_token_id: card,
    decoder_start_token_id: card,
    pad_token_id: card,
    do_sample: use_sampling,
    guidance_scale: cfg.classifier_free_guidance.inference_coef,
    max_length: Math.floor((cfg.dataset.segment_duration ?? 30) * frameRate),
    ...(use_sampling ? { temperature: temp, top_k, ...(top_p > 0 ? { top_p } : {}) } : {}),
  };
}

/** preprocessor_config.json: how audio is prepared, as a prompt or as a melody. */
export function preprocessorConfigJson(cfg: MusicGenConfig): Json {
  const common = { padding_value: 0, sampling_rate: cfg.sample_rate };
  if (!isMelody(cfg)) {
    return {
      ...common,
      feature_extractor_type: "EncodecFeatureExtractor",
      processor_class: "MusicgenProcessor",
      padding_side: "left",
      feature_size: cfg.interleave_stereo_codebooks.use ? 2 : 1,
      chunk_length_s: null,
      overlap: null,
      return_attention_mask: true,
    };
  }
  const chroma = chromaOf(cfg);
  return {
    ...common,
    feature_extractor_type: "MusicgenMelodyFeatureExtractor",
    processor_class: "MusicgenMelodyProcessor",
    padding_side: "right",
    sampling_rate: chroma.sample_rate,
    feature_size: chroma.n_chroma ?? 12,
    num_chroma: chroma.n_chroma ?? 12,
    n_fft: windowOf(chroma),
    hop_length: hopOf(chroma),
    chunk_length: Math.round(cfg.dataset.segment_duration ?? 30),
    stem_indices: [3, 2],
    return_attention_mask: false,
  };
}
