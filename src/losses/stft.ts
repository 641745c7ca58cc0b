/** Multi-resolution STFT loss (Yamamoto et al. 2020, arXiv 1910.11480): spectral convergence and log magnitudes. */
import { UserError } from "../errors.ts";
import { padTime } from "../models/encodec/padding.ts";
import { hannWindow, stft } from "../nn/stft.ts";
import { type Tensor, tf, Variable } from "../runtime/index.ts";
import { l1 } from "./distance.ts";

export interface MultiResolutionOptions {
  nFfts: readonly number[];
  hopLengths: readonly number[];
  winLengths: readonly number[];
  /** Weights of the two terms. */
  factorSc: number;
  factorMag: number;
  /** Divides spectra by sqrt(nFft). */
  normalized: boolean;
}

/** PyTorch's float32 epsilon. */
const EPSILON = 2 ** -23;

/** The least power whose root is taken. */
const POWER_FLOOR = 1e-7;

export class MultiResolutionSTFT {
  private readonly resolutions: { nFft: number; hop: number; window: Variable }[];
  private readonly options: MultiResolutionOptions;

  constructor(options: MultiResolutionOptions) {
    const { nFfts, hopLengths, winLengths, normalized } = options;
    if (nFfts.length !== hopLengths.length || nFfts.length !== winLengths.length) {
      throw new UserError("mrstft: n_ffts, hop_lengths and win_lengths must be equally long lists.");
    }
    this.options = options;
    this.resolutions = nFfts.map((nFft, i) => {
      const scale = normalized ? 1 / Math.sqrt(nFft) : 1;
      const window = hannWindow(winLengths[i], nFft).map((w) => w * scale);
      return { nFft, hop: hopLengths[i], window: new Variable([nFft], () => window) };
    });
  }

  /** waves [B, C, T] -> scalar: the weighted sum of the two terms' means over the resolutions */
  forward(predicted: Tensor, target: Tensor): Tensor {
    const { factorSc, factorMag } = this.options;
    const terms = this.resolutions.map((resolution) => {
      const [ours, theirs] = [predicted, target].map((wav) => magnitudes(wav, resolution));
      const convergence = tf.div(norm(tf.sub(theirs, ours)), tf.add(norm(theirs), EPSILON));
      const logs = l1(tf.log(tf.add(theirs, EPSILON)), tf.log(tf.add(ours, EPSILON)));
      return tf.add(tf.mul(convergence, factorSc), tf.mul(logs, factorMag)) as Tensor;
    });
    return tf.div(tf.addN(terms), terms.length);
  }
}

/** [B, C, T] -> magnitudes of windows centred on every `hop`th sample, [B * C, frames, bins] */
function magnitudes(
  wav: Tensor,
  { nFft, hop, window }: { nFft: number; hop: number; window: Variable },
): Tensor {
  const [batch, channels, length] = wav.shape;
  const flat = wav.reshape([batch * channels, length, 1]);
  const centred = padTime(flat, nFft / 2, nFft / 2, "reflect").squeeze([2]);
  const { real, imaginary } = stft(centred, window.value, hop);
  return tf.sqrt(tf.maximum(tf.add(tf.square(real), tf.square(imaginary)), POWER_FLOOR));
}

/** 2-norm of all values; equal tensors have the gradient 0. */
function norm(x: Tensor): Tensor {
  return tf.sqrt(tf.maximum(tf.sum(tf.square(x)), 1e-30));
}
