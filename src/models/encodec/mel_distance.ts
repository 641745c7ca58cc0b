/**
 * Distance of two waves in what is heard: magnitudes at several resolutions, in mel bands for short windows and bin by bin
 * for long ones, because pitch is in the bins and lost in the bands. Differentiable.
 */
import { type Tensor, tf } from "../../runtime/index.ts";

interface Resolution {
  size: number;
  /** Windowed cosines and sines [size, 2 bins]: tf.signal.stft has no gradient. */
  dft: Tensor;
  /** [bins, bands] */
  bands: Tensor;
}

export class MelDistance {
  private readonly resolutions: Resolution[];

  /** Windows of `sizes` samples, each a power of two, a quarter of a window apart. */
  constructor(sampleRate: number, sizes = [128, 256, 512, 1024, 2048]) {
    this.resolutions = sizes.map((size) => ({
      size,
      dft: tf.tensor2d(dftMatrix(size), [size, size + 2]),
      bands: size < 1024 ? melBands(size, sampleRate, Math.min(80, size / 8)) : lowBins(size, sampleRate),
    }));
  }

  /**
   * waves [B, T], T at least the largest window -> scalar: the mean over resolutions of the mean distance of log magnitudes
   * (nats), plus the distance of the magnitudes as a share of the second wave's, which the loud partials dominate.
   */
  distance(a: Tensor, b: Tensor): Tensor {
    const distances = this.resolutions.map((resolution) => {
      const [ours, theirs] = [a, b].map((wave) => magnitudes(wave, resolution));
      const logs = tf.mean(tf.abs(tf.sub(logOf(ours), logOf(theirs))));
      return tf.add(logs, tf.div(tf.sum(tf.abs(tf.sub(ours, theirs))), tf.add(tf.sum(theirs), 1e-3)));
    });
    return tf.mean(tf.stack(distances));
  }
}

/** Quieter than this amplitude (-60 dB) counts as silence. */
const floor = 1e-3;

/** [B, T] -> [B * frames, bands] */
function magnitudes(wave: Tensor, { size, dft, bands }: Resolution): Tensor {
  const [batch, samples] = wave.shape;
  const hop = size / 4;
  const hops = Math.floor(samples / hop);
  const frames = hops - 3;
  const chunks = tf.slice(wave, [0, 0], [batch, hops * hop]).reshape([batch, hops, hop]);
  const quarters = [0, 1, 2, 3].map((i) => tf.slice(chunks, [0, i, 0], [batch, frames, hop]));
  const windows = tf.concat(quarters, 2).reshape([batch * frames, size]);
  const [real, imaginary] = tf.split(tf.matMul(windows as never, dft as never) as Tensor, 2, 1);
  const magnitude = tf.sqrt(tf.add(tf.add(tf.square(real), tf.square(imaginary)), 1e-10));
  return tf.matMul(magnitude as never, bands as never) as Tensor;
}

function logOf(magnitudes: Tensor): Tensor {
  return tf.log(tf.add(magnitudes, floor));
}

/** Columns cos and -sin of every bin under a Hann window, scaled so that a sine of amplitude a has magnitude a. */
function dftMatrix(size: number): Float32Array {
  const bins = size / 2 + 1;
  const matrix = new Float32Array(size * 2 * bins);
  for (let t = 0; t < size; t++) {
    const window = ((1 - Math.cos((2 * Math.PI * t) / size)) / 2) * (4 / size);
    for (let k = 0; k < bins; k++) {
      const angle = (2 * Math.PI * ((k * t) % size)) / size;
      matrix[t * 2 * bins + k] = window * Math.cos(angle);
      matrix[t * 2 * bins + bins + k] = -window * Math.sin(angle);
    }
  }
  return matrix;
}

/** The bins up to 4 kHz as they are, [bins, kept]. */
function lowBins(size: number, sampleRate: number): Tensor {
  const kept = Math.floor((4000 * size) / sampleRate);
  return tf.eye(size / 2 + 1, kept);
}

/** Triangles of height 1 at equal distances on the mel scale (2595 log10(1 + f / 700)), [bins, bands]. */
function melBands(size: number, sampleRate: number, count: number): Tensor {
  const bins = size / 2 + 1;
  const top = 2595 * Math.log10(1 + sampleRate / 2 / 700);
  const edges = Array.from({ length: count + 2 }, (_, i) => {
    const frequency = 700 * (10 ** ((top * i) / (count + 1) / 2595) - 1);
    return (frequency * size) / sampleRate;
  });
  const bands = new Float32Array(bins * count);
  for (let band = 0; band < count; band++) {
    const [left, centre, right] = edges.slice(band, band + 3);
    for (let k = 0; k < bins; k++) {
      const rise = (k - left) / Math.max(centre - left, 1);
      const fall = (right - k) / Math.max(right - centre, 1);
      bands[k * count + band] = Math.max(0, Math.min(rise, fall));
    }
  }
  return tf.tensor2d(bands, [bins, count]);
}
