/** Discriminators from the sections of a config that have their names (`msstftd`, `mpd`, `msd`). */
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { type ConvNorm, parseConvNorm } from "../encodec/conv_norm.ts";
import type { PadMode } from "../encodec/padding.ts";
import type { Discriminator } from "./discriminator.ts";
import { MultiPeriodDiscriminator } from "./period.ts";
import { MultiScaleDiscriminator } from "./scale.ts";
import { MultiScaleSTFTDiscriminator } from "./stft.ts";

type Section = Record<string, unknown>;

/** Keys with their defaults, which are those of AudioCraft's classes. */
const shared = {
  in_channels: 1,
  out_channels: 1,
  max_filters: 1024,
  activation: "LeakyReLU",
  activation_params: { negative_slope: 0.2 } as Section,
};

const stftKeys = {
  ...shared,
  filters: 32,
  norm: "weight_norm",
  n_ffts: [1024, 2048, 512],
  hop_lengths: [256, 512, 128],
  win_lengths: [1024, 2048, 512],
  filters_scale: 1,
  kernel_size: [3, 9],
  stride: [1, 2],
  dilations: [1, 2, 4],
  normalized: true,
};

const periodKeys = {
  ...shared,
  filters: 8,
  norm: "weight_norm",
  periods: [2, 3, 5, 7, 11],
  n_layers: 5,
  kernel_sizes: [5, 3],
  stride: 3,
  filters_scale: 4,
};

const scaleKeys = {
  ...shared,
  filters: 16,
  scale_norms: ["weight_norm", "weight_norm", "weight_norm"],
  kernel_sizes: [5, 3],
  downsample_factor: 2,
  downsample_scales: [4, 4, 4, 4],
  inner_kernel_sizes: null as number[] | null,
  groups: null as number[] | null,
  strides: null as number[] | null,
  paddings: null as number[] | null,
  pad: "ReflectionPad1d",
};

const padModes: Record<string, PadMode> = {
  ReflectionPad1d: "reflect",
  ReplicationPad1d: "replicate",
  ZeroPad1d: "constant",
  CircularPad1d: "circular",
};

/**
 * The discriminator `name` of `section`.
 * @throws UserError for an unknown name, an unknown key or a value of the wrong kind
 */
export function buildDiscriminator(name: string, section: Section, init: InitializerStream): Discriminator {
  if (name === "msstftd") return buildSTFT(section, init);
  if (name === "mpd") return buildPeriod(section, init);
  if (name === "msd") return buildScale(section, init);
  throw new UserError(`adversarial.adversaries: ${name} is unknown; use msstftd, mpd or msd.`);
}

function buildSTFT(section: Section, init: InitializerStream): Discriminator {
  const o = withDefaults("msstftd", section, stftKeys);
  return new MultiScaleSTFTDiscriminator(
    {
      ...common(o),
      norm: normOf("msstftd.norm", o.norm),
      nFfts: o.n_ffts,
      hopLengths: o.hop_lengths,
      winLengths: o.win_lengths,
      filtersScale: o.filters_scale,
      kernelSize: pair("msstftd.kernel_size", o.kernel_size),
      stride: pair("msstftd.stride", o.stride),
      dilations: o.dilations,
      normalized: o.normalized,
    },
    init,
  );
}

/**
 * AudioCraft's own config says `kernel_size` and `filter_scales`, which its class does not know; here they are the size of the
 * layers' kernels and `filters_scale`.
 */
function buildPeriod(section: Section, init: InitializerStream): Discriminator {
  const { kernel_size: inner, filter_scales: scale, ...rest } = section;
  const renamed: Section = { ...rest };
  if (inner !== undefined) renamed.kernel_sizes ??= [inner, periodKeys.kernel_sizes[1]];
  if (scale !== undefined) renamed.filters_scale ??= scale;
  const o = withDefaults("mpd", renamed, periodKeys);
  return new MultiPeriodDiscriminator(
    {
      ...common(o),
      norm: normOf("mpd.norm", o.norm),
      periods: o.periods,
      layers: o.n_layers,
      kernelSizes: pair("mpd.kernel_sizes", o.kernel_sizes),
      stride: o.stride,
      filtersScale: o.filters_scale,
    },
    init,
  );
}

function buildScale(section: Section, init: InitializerStream): Discriminator {
  const o = withDefaults("msd", section, scaleKeys);
  if (!Object.hasOwn(padModes, o.pad)) {
    throw new UserError(`msd.pad=${o.pad} is not built: use one of ${Object.keys(padModes).join(", ")}.`);
  }
  return new MultiScaleDiscriminator(
    {
      ...common(o),
      scaleNorms: o.scale_norms.map((norm) => normOf("msd.scale_norms", norm)),
      kernelSizes: pair("msd.kernel_sizes", o.kernel_sizes),
      downsampleFactor: o.downsample_factor,
      downsampleScales: o.downsample_scales,
      innerKernelSizes: o.inner_kernel_sizes,
      groups: o.groups,
      strides: o.strides,
      paddings: o.paddings,
      padMode: padModes[o.pad],
    },
    init,
  );
}

function common(o: typeof shared & { filters: number }) {
  return {
    inChannels: o.in_channels,
    outChannels: o.out_channels,
    filters: o.filters,
    maxFilters: o.max_filters,
    activation: o.activation,
    activationParams: o.activation_params,
  };
}

/** `section` over `defaults`, each value of its default's kind; where the default is null, also a list of numbers. */
function withDefaults<T extends Section>(name: string, section: Section, defaults: T): T {
  for (const [key, value] of Object.entries(section)) {
    if (!Object.hasOwn(defaults, key)) {
      throw new UserError(
        `${name}.${key} is not a key of the discriminator ${name}: it has ${Object.keys(defaults).join(", ")}.`,
      );
    }
    const expected = defaults[key] === null ? ["null", "list"] : [kind(defaults[key])];
    if (!expected.includes(kind(value))) {
      throw new UserError(`${name}.${key}=${JSON.stringify(value)} is not a ${expected.join(" or ")}.`);
    }
  }
  return { ...defaults, ...section };
}

function kind(value: unknown): string {
  if (Array.isArray(value)) return "list";
  return value === null ? "null" : typeof value;
}

function pair(name: string, values: number[]): readonly [number, number] {
  if (values.length !== 2) throw new UserError(`${name} must have 2 values, not ${values.length}.`);
  return [values[0], values[1]];
}

function normOf(name: string, norm: string): ConvNorm {
  const parsed = parseConvNorm(norm, false);
  if (parsed === "layer_norm" || parsed === "time_group_norm") {
    throw new UserError(`${name}=${norm} is not built: use weight_norm, spectral_norm or none.`);
  }
  return parsed;
}
