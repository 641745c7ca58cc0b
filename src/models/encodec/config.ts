/** The hyper-parameters of EnCodec, out of AudioCraft's config sections or a Hugging Face config.json. */
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { type ConvNorm, type NormParams, parseConvNorm } from "./conv_norm.ts";
import { EncodecNetwork } from "./model.ts";
import { parsePadMode } from "./padding.ts";
import type { QuantizerOptions } from "./quantizer.ts";
import type { SEANetOptions } from "./seanet.ts";

export interface EncodecOptions {
  sampleRate: number;
  channels: number;
  frameRate: number;
  renormalize: boolean;
  /** Coding in overlapping chunks of so many samples, one every `stride`; null codes the whole at once. */
  chunk: { length: number; stride: number } | null;
  /** The bandwidths in kbit/s that a Hugging Face config lists; null: any number of codebooks. */
  bandwidths: number[] | null;
  encoder: SEANetOptions;
  decoder: SEANetOptions;
  quantizer: QuantizerOptions;
}

/** Plain data with unknown keys, as a composed config or parsed JSON is. */
export type Section = Record<string, unknown>;

/**
 * Builds the model of the `encodec`, `seanet` and `rvq` sections of `cfg`, with weights drawn from `init`.
 * @param path the file that the config is of, for errors
 */
export function buildEncodec(cfg: Section, init: InitializerStream, path?: string): EncodecNetwork {
  return inFile(path, () => new EncodecNetwork(encodecOptions(cfg), init));
}

/** Builds the model that a `config.json` of the Hugging Face class EncodecModel describes. */
export function buildHfEncodec(
  config: Section,
  init: InitializerStream,
  path = "config.json",
): EncodecNetwork {
  const options = hfEncodecOptions(config, path);
  return inFile(path, () => new EncodecNetwork(options, init));
}

/** Puts the path of a config before what is wrong with it. */
function inFile<T>(path: string | undefined, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (path !== undefined && error instanceof UserError) throw new UserError(`${path}: ${error.message}`);
    throw error;
  }
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
  const renormalize = value(encodec, "encodec", "renormalize", "boolean");
  if (renormalize && encodec.causal === true) {
    throw new UserError("encodec.renormalize=true looks at the whole clip: set encodec.causal=false.");
  }
  const encoderOptions = seanetOptions({ ...shared, ...(encoder as Section) });
  const sampleRate = value(encodec, "encodec", "sample_rate", "size");
  return {
    sampleRate,
    channels: value(encodec, "encodec", "channels", "size"),
    frameRate: Math.floor(sampleRate / product(encoderOptions.ratios)),
    renormalize,
    chunk: null,
    bandwidths: null,
    encoder: encoderOptions,
    decoder: seanetOptions({ ...shared, ...(decoder as Section) }),
    quantizer: {
      dimension: encoderOptions.dimension,
      codebooks: value(rvq, "rvq", "n_q", "size"),
      bins: value(rvq, "rvq", "bins", "size"),
      kmeansInit: value(rvq, "rvq", "kmeans_init", "boolean"),
    },
  };
}

/** Defaults are those of AudioCraft's classes, for a section that leaves keys out. */
function seanetOptions(seanet: Section): SEANetOptions {
  const get = <T extends keyof Kinds>(key: string, kind: T, fallback: Kinds[T]): Kinds[T] =>
    seanet[key] === undefined ? fallback : value(seanet, "seanet", key, kind);
  const causal = get("causal", "boolean", false);
  return {
    channels: get("channels", "size", 1),
    dimension: get("dimension", "size", 128),
    nFilters: get("n_filters", "size", 32),
    nResidualLayers: get("n_residual_layers", "count", 3),
    ratios: ratiosOf(seanet.ratios ?? [8, 5, 4, 2], "seanet.ratios"),
    activation: get("activation", "string", "ELU"),
    activationParams: paramsOf(seanet, "activation_params"),
    norm: parseConvNorm(get("norm", "string", "none"), causal),
    normParams: normParamsOf(paramsOf(seanet, "norm_params")),
    kernelSize: get("kernel_size", "size", 7),
    lastKernelSize: get("last_kernel_size", "size", 7),
    residualKernelSize: get("residual_kernel_size", "size", 3),
    dilationBase: get("dilation_base", "size", 2),
    causal,
    padMode: parsePadMode(get("pad_mode", "string", "reflect")),
    trueSkip: get("true_skip", "boolean", true),
    compress: get("compress", "size", 2),
    lstm: get("lstm", "count", 0),
    disableNormOuterBlocks: get("disable_norm_outer_blocks", "count", 0),
    trimRightRatio: get("trim_right_ratio", "number", 1),
    finalActivation:
      seanet.final_activation == null ? null : value(seanet, "seanet", "final_activation", "string"),
    finalActivationParams: paramsOf(seanet, "final_activation_params"),
  };
}

function paramsOf(seanet: Section, key: string): Section {
  const found = seanet[key] ?? {};
  if (typeof found === "object" && !Array.isArray(found)) return found as Section;
  throw new UserError(`seanet.${key} must be a mapping, not ${JSON.stringify(found)}.`);
}

/** The parameters of PyTorch's GroupNorm and LayerNorm. */
function normParamsOf({ eps = 1e-5, affine = true, ...unknown }: Section): NormParams {
  const [name] = Object.keys(unknown);
  if (name !== undefined) throw new UserError(`seanet.norm_params.${name} is not built.`);
  if (typeof eps !== "number") throw new UserError(`seanet.norm_params.eps must be a number, not ${eps}.`);
  if (typeof affine !== "boolean") {
    throw new UserError(`seanet.norm_params.affine must be true or false, not ${affine}.`);
  }
  return { eps, affine };
}

/** Reads the keys of a Hugging Face EncodecConfig; those left out have that class's defaults (the 24 kHz model). */
export function hfEncodecOptions(config: Section, path = "config.json"): EncodecOptions {
  return inFile(path, () => readHfOptions(config));
}

function readHfOptions(config: Section): EncodecOptions {
  const get = <T extends keyof Kinds>(key: string, kind: T, fallback: Kinds[T]): Kinds[T] =>
    config[key] === undefined ? fallback : value(config, null, key, kind);
  const dimension = get("hidden_size", "size", 128);
  if ((config.codebook_dim ?? dimension) !== dimension) {
    throw new UserError(
      `codebook_dim=${config.codebook_dim} is not hidden_size=${dimension}, so its codebooks can't hold its latents.`,
    );
  }
  const causal = get("use_causal_conv", "boolean", true);
  const sampleRate = get("sampling_rate", "size", 24000);
  const channels = get("audio_channels", "size", 1);
  const bins = get("codebook_size", "size", 1024);
  const ratios = ratiosOf(config.upsampling_ratios ?? [8, 5, 4, 2], "upsampling_ratios");
  const frameRate = Math.ceil(sampleRate / product(ratios));
  const bandwidths = bandwidthsOf(config.target_bandwidths ?? [1.5, 3, 6, 12, 24]);
  const highest = bandwidths[bandwidths.length - 1];
  const codebooks = codebooksOf(highest, frameRate, Math.ceil(Math.log2(bins)));
  if (!(codebooks >= 1 && Number.isFinite(codebooks)))
    throw new UserError(
      `target_bandwidths: ${highest} kbit/s are no number of codebooks of codebook_size=${bins} at ${frameRate} frames a second.`,
    );
  const seanet: SEANetOptions = {
    channels,
    dimension,
    nFilters: get("num_filters", "size", 32),
    nResidualLayers: get("num_residual_layers", "count", 1),
    ratios,
    activation: "ELU",
    activationParams: {},
    norm: parseHfNorm(get("norm_type", "string", "weight_norm")),
    normParams: { eps: 1e-5, affine: true },
    kernelSize: get("kernel_size", "size", 7),
    lastKernelSize: get("last_kernel_size", "size", 7),
    residualKernelSize: get("residual_kernel_size", "size", 3),
    dilationBase: get("dilation_growth_rate", "size", 2),
    causal,
    padMode: parsePadMode(get("pad_mode", "string", "reflect")),
    trueSkip: !get("use_conv_shortcut", "boolean", true),
    compress: get("compress", "size", 2),
    lstm: get("num_lstm_layers", "count", 2),
    disableNormOuterBlocks: 0,
    trimRightRatio: get("trim_right_ratio", "number", 1),
    finalActivation: null,
    finalActivationParams: {},
  };
  return {
    sampleRate,
    channels,
    frameRate,
    renormalize: get("normalize", "boolean", false),
    chunk: chunkOf(config, sampleRate),
    bandwidths,
    encoder: seanet,
    decoder: seanet,
    quantizer: {
      dimension,
      codebooks,
      bins,
      kmeansInit: true,
    },
  };
}

interface Kinds {
  number: number;
  /** An integer above 0. */
  size: number;
  /** An integer of at least 0. */
  count: number;
  string: string;
  boolean: boolean;
}

/** Codebooks of `bits` bits that fit into a bandwidth in kbit/s, at so many frames a second. */
export function codebooksOf(bandwidth: number, frameRate: number, bits: number): number {
  return Math.floor((1000 * bandwidth) / (frameRate * bits));
}

/** transformers builds fewer norms than AudioCraft, and lets causal models look ahead through time_group_norm. */
function parseHfNorm(norm: string): ConvNorm {
  if (norm === "weight_norm" || norm === "time_group_norm") return norm;
  throw new UserError(`norm_type=${norm} is neither weight_norm nor time_group_norm.`);
}

/** In samples, rounded down as transformers does. */
function chunkOf(config: Section, sampleRate: number): EncodecOptions["chunk"] {
  if (config.chunk_length_s == null) return null;
  const length = Math.trunc(value(config, null, "chunk_length_s", "number") * sampleRate);
  const overlap = value(config, null, "overlap", "number");
  if (!(overlap >= 0 && overlap < 1))
    throw new UserError(`overlap=${overlap}: a number from 0 to below 1 is needed.`);
  const stride = Math.max(1, Math.trunc((1 - overlap) * length));
  if (length < 1) throw new UserError("chunk_length_s is less than a sample.");
  return { length, stride };
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

/** A key of a section, or of a config without sections (null). */
function value<T extends keyof Kinds>(from: Section, where: string | null, key: string, kind: T): Kinds[T] {
  const found = from[key];
  const { fits, name }: Kind = KINDS[kind];
  if (fits(found)) return found as Kinds[T];
  const place = where === null ? key : `${where}.${key}`;
  throw new UserError(`${place} must be a ${name}, not ${JSON.stringify(found) ?? "missing"}.`);
}

interface Kind {
  fits: (found: unknown) => boolean;
  name: string;
}

const integerFrom = (least: number) => (found: unknown) => Number.isInteger(found) && Number(found) >= least;

const KINDS: Record<keyof Kinds, Kind> = {
  number: { fits: (found) => typeof found === "number" && Number.isFinite(found), name: "number" },
  size: { fits: integerFrom(1), name: "whole number above 0" },
  count: { fits: integerFrom(0), name: "whole number of at least 0" },
  string: { fits: (found) => typeof found === "string", name: "string" },
  boolean: { fits: (found) => typeof found === "boolean", name: "boolean" },
};

function bandwidthsOf(found: unknown): number[] {
  if (Array.isArray(found) && found.length > 0 && found.every((each) => typeof each === "number" && each > 0))
    return found;
  throw new UserError(
    `target_bandwidths must be a list of one or more numbers above 0, not ${JSON.stringify(found)}.`,
  );
}

function ratiosOf(found: unknown, where: string): number[] {
  if (Array.isArray(found) && found.every((ratio) => Number.isInteger(ratio) && ratio > 0)) return found;
  throw new UserError(`${where} must be a list of whole numbers, not ${JSON.stringify(found)}.`);
}

function product(numbers: number[]): number {
  return numbers.reduce((a, b) => a * b, 1);
}
