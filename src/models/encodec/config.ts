/** The hyper-parameters of EnCodec, out of AudioCraft's config sections or a Hugging Face config.json. */
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { parseConvNorm } from "./conv.ts";
import { EncodecModel } from "./model.ts";
import type { QuantizerOptions } from "./quantizer.ts";
import type { SEANetOptions } from "./seanet.ts";

export interface EncodecOptions {
  sampleRate: number;
  channels: number;
  frameRate: number;
  renormalize: boolean;
  encoder: SEANetOptions;
  decoder: SEANetOptions;
  quantizer: QuantizerOptions;
}

/** Plain data with unknown keys, as a composed config or parsed JSON is. */
export type Section = Record<string, unknown>;

/** Builds the model of the `encodec`, `seanet` and `rvq` sections of `cfg`, with weights drawn from `init`. */
export function buildEncodec(cfg: Section, init: InitializerStream): EncodecModel {
  return new EncodecModel(encodecOptions(cfg), init);
}

/** Builds the model that a `config.json` of the Hugging Face class EncodecModel describes. */
export function buildHfEncodec(config: Section, init: InitializerStream): EncodecModel {
  return new EncodecModel(hfEncodecOptions(config), init);
}

/** Reads AudioCraft's sections; `seanet.encoder` and `seanet.decoder` override `seanet`. */
export function encodecOptions(cfg: Section): EncodecOptions {
  const encodec = section(cfg, "encodec");
  const { encoder = {}, decoder = {}, ...shared } = section(cfg, "seanet");
  if (value(encodec, "encodec", "autoencoder", "string") !== "seanet") {
    throw new UserError(`encodec.autoencoder=${encodec.autoencoder} is not built: use seanet.`);
  }
  const quantizerName = value(encodec, "encodec", "quantizer", "string");
  if (quantizerName !== "rvq") {
    throw new UserError(`encodec.quantizer=${quantizerName} is not built: use rvq.`);
  }
  const rvq = section(cfg, "rvq");
  const encoderOptions = seanetOptions({ ...shared, ...(encoder as Section) });
  const sampleRate = value(encodec, "encodec", "sample_rate", "number");
  return {
    sampleRate,
    channels: value(encodec, "encodec", "channels", "number"),
    frameRate: Math.floor(sampleRate / product(encoderOptions.ratios)),
    renormalize: value(encodec, "encodec", "renormalize", "boolean"),
    encoder: encoderOptions,
    decoder: seanetOptions({ ...shared, ...(decoder as Section) }),
    quantizer: {
      dimension: encoderOptions.dimension,
      codebooks: value(rvq, "rvq", "n_q", "number"),
      bins: value(rvq, "rvq", "bins", "number"),
      kmeansInit: value(rvq, "rvq", "kmeans_init", "boolean"),
    },
  };
}

/** Defaults are those of AudioCraft's classes, for a section that leaves keys out. */
function seanetOptions(seanet: Section): SEANetOptions {
  const get = <T extends keyof Kinds>(key: string, kind: T, fallback: Kinds[T]): Kinds[T] =>
    seanet[key] === undefined ? fallback : value(seanet, "seanet", key, kind);
  const causal = get("causal", "boolean", false);
  const activationParams = (seanet.activation_params ?? {}) as Section;
  const normParams = (seanet.norm_params ?? {}) as Section;
  const finalParams = (seanet.final_activation_params ?? {}) as Section;
  for (const [name, params, known] of [
    ["norm_params", normParams, []],
    ["activation_params", activationParams, ["alpha"]],
    ["final_activation_params", finalParams, []],
  ] as const) {
    const unknown = Object.keys(params).filter((key) => !(known as readonly string[]).includes(key));
    if (unknown.length > 0) throw new UserError(`seanet.${name}.${unknown[0]} is not built.`);
  }
  return {
    channels: get("channels", "number", 1),
    dimension: get("dimension", "number", 128),
    nFilters: get("n_filters", "number", 32),
    nResidualLayers: get("n_residual_layers", "number", 3),
    ratios: ratiosOf(seanet.ratios ?? [8, 5, 4, 2], "seanet.ratios"),
    activation: get("activation", "string", "ELU"),
    alpha: (activationParams.alpha as number | undefined) ?? 1,
    norm: parseConvNorm(get("norm", "string", "none"), causal),
    kernelSize: get("kernel_size", "number", 7),
    lastKernelSize: get("last_kernel_size", "number", 7),
    residualKernelSize: get("residual_kernel_size", "number", 3),
    dilationBase: get("dilation_base", "number", 2),
    causal,
    padMode: padModeOf(get("pad_mode", "string", "reflect")),
    trueSkip: get("true_skip", "boolean", true),
    compress: get("compress", "number", 2),
    lstm: get("lstm", "number", 0),
    disableNormOuterBlocks: get("disable_norm_outer_blocks", "number", 0),
    trimRightRatio: get("trim_right_ratio", "number", 1),
    finalActivation:
      seanet.final_activation == null ? null : value(seanet, "seanet", "final_activation", "string"),
  };
}

/** Reads the keys of a Hugging Face EncodecConfig; those left out have that class's defaults (the 24 kHz model). */
export function hfEncodecOptions(config: Section): EncodecOptions {
  const get = <T extends keyof Kinds>(key: string, kind: T, fallback: Kinds[T]): Kinds[T] =>
    config[key] === undefined ? fallback : value(config, "config.json", key, kind);
  if (config.chunk_length_s != null) {
    throw new UserError(
      `config.json: chunk_length_s=${config.chunk_length_s} (coding in overlapping chunks, as facebook/encodec_48khz does) is not built.`,
    );
  }
  const dimension = get("hidden_size", "number", 128);
  if ((config.codebook_dim ?? dimension) !== dimension) {
    throw new UserError(
      `config.json: codebook_dim=${config.codebook_dim} other than hidden_size=${dimension} is not built.`,
    );
  }
  const causal = get("use_causal_conv", "boolean", true);
  const sampleRate = get("sampling_rate", "number", 24000);
  const channels = get("audio_channels", "number", 1);
  const bins = get("codebook_size", "number", 1024);
  const ratios = ratiosOf(config.upsampling_ratios ?? [8, 5, 4, 2], "config.json: upsampling_ratios");
  const bandwidths = (config.target_bandwidths ?? [1.5, 3, 6, 12, 24]) as number[];
  const frameRate = Math.ceil(sampleRate / product(ratios));
  const seanet: SEANetOptions = {
    channels,
    dimension,
    nFilters: get("num_filters", "number", 32),
    nResidualLayers: get("num_residual_layers", "number", 1),
    ratios,
    activation: "ELU",
    alpha: 1,
    norm: parseConvNorm(get("norm_type", "string", "weight_norm"), causal),
    kernelSize: get("kernel_size", "number", 7),
    lastKernelSize: get("last_kernel_size", "number", 7),
    residualKernelSize: get("residual_kernel_size", "number", 3),
    dilationBase: get("dilation_growth_rate", "number", 2),
    causal,
    padMode: padModeOf(get("pad_mode", "string", "reflect")),
    trueSkip: !get("use_conv_shortcut", "boolean", true),
    compress: get("compress", "number", 2),
    lstm: get("num_lstm_layers", "number", 2),
    disableNormOuterBlocks: 0,
    trimRightRatio: get("trim_right_ratio", "number", 1),
    finalActivation: null,
  };
  return {
    sampleRate,
    channels,
    frameRate,
    renormalize: get("normalize", "boolean", false),
    encoder: seanet,
    decoder: seanet,
    quantizer: {
      dimension,
      // The highest bandwidth in bits per second, over that of one codebook.
      codebooks: Math.floor(
        (1000 * bandwidths[bandwidths.length - 1]) / (frameRate * Math.ceil(Math.log2(bins))),
      ),
      bins,
      kmeansInit: true,
    },
  };
}

interface Kinds {
  number: number;
  string: string;
  boolean: boolean;
}

function section(cfg: Section, name: string): Section {
  const found = cfg[name];
  if (typeof found !== "object" || found === null) {
    throw new UserError(
      `the config has no section \`${name}\`, which an EnCodec model needs (model/encodec/…).`,
    );
  }
  return found as Section;
}

function value<T extends keyof Kinds>(from: Section, where: string, key: string, kind: T): Kinds[T] {
  const found = from[key];
  if (typeof found === kind) return found as Kinds[T];
  throw new UserError(`${where}.${key} must be a ${kind}, not ${JSON.stringify(found) ?? "missing"}.`);
}

function ratiosOf(found: unknown, where: string): number[] {
  if (Array.isArray(found) && found.every((ratio) => Number.isInteger(ratio) && ratio > 0)) return found;
  throw new UserError(`${where} must be a list of whole numbers, not ${JSON.stringify(found)}.`);
}

function padModeOf(mode: string): "constant" | "reflect" {
  if (mode === "constant" || mode === "reflect") return mode;
  throw new UserError(`pad_mode=${mode} is not built: use constant or reflect.`);
}

function product(numbers: number[]): number {
  return numbers.reduce((a, b) => a * b, 1);
}
