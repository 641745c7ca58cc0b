/** The losses of codec training: values, gradients, and the spectrograms they are made of. */
import { buildLoss } from "../losses/build.ts";
import { MelSpectrogram } from "../losses/mel.ts";
import { tf, valueAndGradientAt } from "../runtime/index.ts";
import { type Checks, check, once } from "./check.ts";
import { codecTolerance, values } from "./codec.ts";
import { maxDifference, maxRelative, relativeL2, relativeToLargest } from "./compare.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { tensorOf } from "./tensors.ts";

export const lossTolerance = 1e-5;

/**
 * Of gradients (relative, 2-norms). Those of logarithms of spectra and of absolute differences in spectra or feature maps hang on
 * the rounding of values near 0: the peer differs as much from itself in double precision (3e-4 to 5e-4).
 */
export const gradientTolerance = 1e-4;
export const roughGradientTolerance = 1e-3;
const roughGradients = ["mel", "msspec", "mrstft"];

export async function* verifyLosses(folder: GoldenFolder, config: Json): Checks {
  const read = (name: string) => tensorOf(folder, "losses", name);
  const names = folder.namesInOrder("losses");
  for (const tensor of names.filter((name) => name.startsWith("loss."))) {
    const name = tensor.slice("loss.".length);
    const result = once(() => {
      const loss = buildLoss(name, lossSection(folder, config, name));
      return valueAndGradientAt((x) => loss(x, read("y")), read("y_pred"));
    });
    yield await check(tensor, lossTolerance, () =>
      maxRelative(result().value.dataSync(), folder.values("losses", tensor)),
    );
    const tolerance = roughGradients.includes(name) ? roughGradientTolerance : gradientTolerance;
    yield await check(`grad.${name}`, tolerance, () =>
      relativeL2(result().gradient.dataSync(), folder.values("losses", `grad.${name}`)),
    );
  }
  for (const tensor of names.filter((name) => name.startsWith("melfb."))) {
    const name = tensor.slice("melfb.".length);
    const [, size, normalized, noLog] = /(\d+)(_norm)?(_nolog)?/.exec(name)!;
    const mel = once(() => melOf(Number(size), normalized !== undefined, config));
    yield await check(tensor, codecTolerance, () =>
      maxDifference(mel().filterbank.read(), folder.values("losses", tensor)),
    );
    // Logarithms of quiet bands show the rounding of loud ones: the peer differs by 2e-6 of the largest from itself in double.
    yield await check(`melspec.${name}`, codecTolerance, () =>
      relativeToLargest(
        values(() => {
          const power = mel().forward(read("y"));
          return tf.transpose(noLog ? power : mel().logarithm(power), [0, 2, 1]);
        }),
        folder.values("losses", `melspec.${name}`),
      ),
    );
  }
}

/** The config's section of a loss; that of sisnr is in a sentence of meta.json. */
function lossSection(folder: GoldenFolder, config: Json, name: string): Json {
  if (name !== "sisnr") return (config[name] as Json | undefined) ?? {};
  const segment = /segment ([\d.]+) s/.exec(String(folder.meta.sisnr_golden_config))?.[1];
  const { sample_rate } = config.encodec as Json;
  return { sample_rate, ...(config.sisnr as Json | undefined), ...(segment && { segment: Number(segment) }) };
}

/** Names are like mel1024 and ms64_norm_nolog: the rest is in the config's section mel. */
function melOf(nFft: number, normalized: boolean, config: Json): MelSpectrogram {
  const o = config.mel as {
    sample_rate: number;
    n_mels: number;
    f_min: number;
    f_max: number | null;
    floor_level: number;
  };
  return new MelSpectrogram({
    sampleRate: o.sample_rate,
    nFft,
    hopLength: nFft / 4,
    winLength: nFft,
    nMels: o.n_mels,
    fMin: o.f_min,
    fMax: o.f_max,
    normalized,
    floorLevel: o.floor_level,
  });
}
