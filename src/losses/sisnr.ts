/** Scale-invariant signal-to-noise ratio (Le Roux et al. 2019, arXiv 1811.02508). */
import { padTime } from "../models/encodec/padding.ts";
import { frame } from "../nn/stft.ts";
import { type Tensor, tf } from "../runtime/index.ts";

export interface SISNROptions {
  sampleRate: number;
  /** Seconds of the pieces that are measured one by one; null: the whole. */
  segment: number | null;
  /** Share of a piece that the next one repeats. */
  overlap: number;
  /** Per sample of a piece. */
  epsilon: number;
}

export const defaultSISNR: Omit<SISNROptions, "sampleRate" | "segment"> = { overlap: 0.5, epsilon: 2 ** -23 };

export class SISNR {
  private readonly options: SISNROptions;

  constructor(options: SISNROptions) {
    this.options = options;
  }

  /**
   * waves [B, C, T] -> scalar, in dB, negated (the lower, the better): the mean over pieces, each without its own mean. The
   * end is filled up with zeros.
   */
  forward(predicted: Tensor, target: Tensor): Tensor {
    const [batch, channels, length] = target.shape;
    const { size, hop } = this.pieces(length);
    const epsilon = this.options.epsilon * size;
    const count = Math.ceil(length / hop);
    const [estimate, reference] = [predicted, target].map((wav) => {
      const flat = wav.reshape([batch * channels, length, 1]);
      const padded = padTime(flat, 0, (count - 1) * hop + size - length, "constant");
      const rows = frame(padded, size, hop).squeeze([3]);
      return tf.sub(rows, tf.mean(rows, -1, true)) as Tensor;
    });
    const products = tf.sum(tf.mul(reference, estimate), -1, true);
    const projection = tf.div(tf.mul(products, reference), tf.add(energy(reference), epsilon)) as Tensor;
    const noise = tf.sub(estimate, projection) as Tensor;
    const ratio = tf.sub(tf.log(tf.add(energy(projection), epsilon)), tf.log(tf.add(energy(noise), epsilon)));
    return tf.mul(tf.mean(ratio), -10 / Math.LN10);
  }

  private pieces(length: number): { size: number; hop: number } {
    const { segment, sampleRate, overlap } = this.options;
    if (segment === null) return { size: length, hop: length };
    const size = Math.floor(segment * sampleRate);
    return { size, hop: Math.floor(size * (1 - overlap)) };
  }
}

function energy(x: Tensor): Tensor {
  return tf.sum(tf.square(x), -1, true);
}
