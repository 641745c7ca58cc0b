/** The options of an EnCodec as AudioCraft's config sections, which its exports and our own codec files carry. */
import { UserError } from "../errors.ts";
import type { EncodecOptions } from "../models/encodec/config.ts";
import type { SEANetOptions } from "../models/encodec/seanet.ts";

type Json = Record<string, unknown>;

/** The sections that AudioCraft builds an EnCodec from. */
export function encodecSections(options: EncodecOptions): Record<"encodec" | "seanet" | "rvq", Json> {
  const { encoder, decoder, quantizer } = options;
  if (options.chunk !== null) {
    throw new UserError("AudioCraft's EnCodec has no coding in overlapping chunks; --format hf has");
  }
  const shared = seanetSection(encoder);
  return {
    encodec: {
      autoencoder: "seanet",
      quantizer: "rvq",
      sample_rate: options.sampleRate,
      channels: options.channels,
      causal: encoder.causal,
      renormalize: options.renormalize,
    },
    seanet: {
      ...shared,
      encoder: {},
      decoder: {
        ...differences(shared, seanetSection(decoder)),
        trim_right_ratio: decoder.trimRightRatio,
        final_activation: decoder.finalActivation,
        final_activation_params: decoder.finalActivation === null ? null : decoder.finalActivationParams,
      },
    },
    rvq: {
      n_q: quantizer.codebooks,
      bins: quantizer.bins,
      q_dropout: false,
      decay: 0.99,
      kmeans_init: quantizer.kmeansInit,
      kmeans_iters: 50,
      threshold_ema_dead_code: 2,
      orthogonal_reg_weight: 0,
      orthogonal_reg_active_codes_only: false,
    },
  };
}

function seanetSection(o: SEANetOptions): Json {
  return {
    dimension: o.dimension,
    channels: o.channels,
    causal: o.causal,
    n_filters: o.nFilters,
    n_residual_layers: o.nResidualLayers,
    ratios: o.ratios,
    activation: o.activation,
    activation_params: o.activationParams,
    norm: o.norm,
    norm_params: /^(time_group|layer)_norm$/.test(o.norm) ? { ...o.normParams } : {},
    kernel_size: o.kernelSize,
    residual_kernel_size: o.residualKernelSize,
    last_kernel_size: o.lastKernelSize,
    dilation_base: o.dilationBase,
    pad_mode: o.padMode,
    true_skip: o.trueSkip,
    compress: o.compress,
    lstm: o.lstm,
    disable_norm_outer_blocks: o.disableNormOuterBlocks,
  };
}

/** The keys of `b` whose values `a` has not. */
function differences(a: Json, b: Json): Json {
  return Object.fromEntries(
    Object.entries(b).filter(([key, value]) => JSON.stringify(a[key]) !== JSON.stringify(value)),
  );
}
