/** Losses of audio from the sections of a config that have their names. */
import { UserError } from "../errors.ts";
import type { Tensor } from "../runtime/index.ts";
import { l1, l2 } from "./distance.ts";
import { MelSpectrogramL1, MultiScaleMelSpectrogram } from "./mel.ts";
import { defaultSISNR, SISNR } from "./sisnr.ts";
import { MultiResolutionSTFT } from "./stft.ts";

/** waves [B, C, T], predicted and wanted -> scalar, the lower the better */
export type AudioLoss = (predicted: Tensor, target: Tensor) => Tensor;

type Section = Record<string, unknown>;

/** Keys with their defaults, which are those of AudioCraft's classes; `null` without a default: it must be given. */
const mel = { sample_rate: 0, n_mels: 80, f_min: 0, f_max: null as number | null, floor_level: 1e-5 };
const melKeys = { ...mel, n_fft: 1024, hop_length: 256, win_length: 1024, normalized: false, log: true };
const msspecKeys = { ...mel, n_mels: 64, range_start: 6, range_end: 11, normalized: false, alphas: true };
const mrstftKeys = {
  n_ffts: [1024, 2048, 512],
  hop_lengths: [120, 240, 50],
  win_lengths: [600, 1200, 240],
  window: "hann_window",
  factor_sc: 0.1,
  factor_mag: 0.1,
  normalized: false,
};
const sisnrKeys = {
  sample_rate: 16000,
  segment: 20 as number | null,
  overlap: defaultSISNR.overlap,
  epsilon: defaultSISNR.epsilon,
};

/**
 * The loss `name` of `section`: l1, l2, mel, msspec, mrstft or sisnr.
 * @throws UserError for an unknown name or key, or a value that cannot be
 */
export function buildLoss(name: string, section: Section): AudioLoss {
  if (!Object.hasOwn(builders, name)) {
    throw new UserError(`losses.${name} is unknown: use ${Object.keys(builders).join(", ")}.`);
  }
  return builders[name](section);
}

const builders: Record<string, (section: Section) => AudioLoss> = {
  l1: () => l1,
  l2: () => l2,
  mel(section) {
    const o = withDefaults("mel", section, melKeys);
    const sizes = { nFft: o.n_fft, hopLength: o.hop_length, winLength: o.win_length };
    return forwardOf(new MelSpectrogramL1({ ...melOptions("mel", o), ...sizes }, o.log));
  },
  msspec(section) {
    const o = withDefaults("msspec", section, msspecKeys);
    const range = { rangeStart: o.range_start, rangeEnd: o.range_end };
    return forwardOf(
      new MultiScaleMelSpectrogram({ ...melOptions("msspec", o), ...range, alphas: o.alphas }),
    );
  },
  mrstft(section) {
    const o = withDefaults("mrstft", section, mrstftKeys);
    if (o.window !== "hann_window")
      throw new UserError(`mrstft.window=${o.window} is not built: use hann_window.`);
    return forwardOf(
      new MultiResolutionSTFT({
        nFfts: o.n_ffts,
        hopLengths: o.hop_lengths,
        winLengths: o.win_lengths,
        factorSc: o.factor_sc,
        factorMag: o.factor_mag,
        normalized: o.normalized,
      }),
    );
  },
  sisnr(section) {
    const { sample_rate: sampleRate, ...o } = withDefaults("sisnr", section, sisnrKeys);
    return forwardOf(new SISNR({ sampleRate, ...o }));
  },
};

function forwardOf(loss: { forward: AudioLoss }): AudioLoss {
  return (predicted, target) => loss.forward(predicted, target);
}

function melOptions(name: string, o: typeof mel & { normalized: boolean }) {
  if (!(o.sample_rate > 0)) throw new UserError(`${name}.sample_rate must be given.`);
  return {
    sampleRate: o.sample_rate,
    nMels: o.n_mels,
    fMin: o.f_min,
    fMax: o.f_max,
    normalized: o.normalized,
    floorLevel: o.floor_level,
  };
}

/** `section` over `defaults`; a value must be of its default's kind, or null where the default is null or `segment`. */
function withDefaults<T extends Section>(name: string, section: Section, defaults: T): T {
  for (const [key, value] of Object.entries(section)) {
    if (!Object.hasOwn(defaults, key)) {
      throw new UserError(
        `${name}.${key} is not a key of this loss: it has ${Object.keys(defaults).join(", ")}.`,
      );
    }
    const isNumberOrNull = defaults[key] === null || key === "segment";
    const fits = isNumberOrNull
      ? value === null || typeof value === "number"
      : typeof value === typeof defaults[key] && Array.isArray(value) === Array.isArray(defaults[key]);
    if (!fits) throw new UserError(`${name}.${key}=${JSON.stringify(value)} is of the wrong kind.`);
  }
  return { ...defaults, ...section };
}
