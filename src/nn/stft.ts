/**
 * Short-time Fourier transform with a gradient: frames times the matrix of the discrete Fourier transform. (tfjs's own goes
 * through complex numbers, of which it has no gradients.)
 */
import { autocast, type Tensor, tf, Variable } from "../runtime/index.ts";

export interface Spectrum {
  /** [N, frames, size / 2 + 1] */
  real: Tensor;
  imaginary: Tensor;
}

/**
 * x [N, T] -> the spectra of its frames of `size` samples, `hop` apart, without padding. window [size].
 * There are floor((T - size) / hop) + 1 frames.
 */
export function stft(x: Tensor, window: Tensor, hop: number): Spectrum {
  const [size] = window.shape;
  const bins = size / 2 + 1;
  const frames = tf.mul(frame(x.expandDims(2), size, hop).squeeze([3]), window) as Tensor;
  const [count, length] = frames.shape;
  const rows = frames.reshape([count * length, size]);
  const product = autocast(null, () => tf.matMul(rows as never, dftMatrix(size).value as never)) as Tensor;
  const [real, imaginary] = tf.split(product.reshape([count, length, 2 * bins]), 2, 2);
  return { real, imaginary };
}

/** x [N, T, C] -> [N, frames, size, C], a frame every `hop` steps, as many as are full. Built of slices, for their gradient. */
export function frame(x: Tensor, size: number, hop: number): Tensor {
  const [batch, length, channels] = x.shape;
  const frames = Math.floor((length - size) / hop) + 1;
  if (frames < 1) throw new Error(`frame: ${length} steps are less than a frame of ${size}`);
  const parts = Math.ceil(size / hop);
  const hops = frames - 1 + parts;
  const fitted = fit(x, hops * hop).reshape([batch, hops, hop * channels]);
  const shifted = Array.from({ length: parts }, (_, i) =>
    tf.slice(fitted, [0, i, 0], [batch, frames, hop * channels]),
  );
  const whole = tf.concat(shifted, 2);
  const exact =
    parts * hop === size ? whole : tf.slice(whole, [0, 0, 0], [batch, frames, size * channels]);
  return exact.reshape([batch, frames, size, channels]);
}

/** Cuts x [N, T, C], or adds zeros at its end. */
function fit(x: Tensor, length: number): Tensor {
  const [batch, before, channels] = x.shape;
  if (before >= length) return tf.slice(x, [0, 0, 0], [batch, length, channels]);
  return tf.pad(x, [
    [0, 0],
    [0, length - before],
    [0, 0],
  ]);
}

/** The periodic Hann window of `length` samples, in the middle of `size`. */
export function hannWindow(length: number, size: number = length): Float32Array {
  const left = Math.floor((size - length) / 2);
  const window = new Float32Array(size);
  for (let t = 0; t < length; t++) window[left + t] = (1 - Math.cos((2 * Math.PI * t) / length)) / 2;
  return window;
}

const matrices = new Map<number, Variable>();

/** Columns cos and -sin of every bin, [size, 2 (size / 2 + 1)]: one variable for all who transform that size. */
function dftMatrix(size: number): Variable {
  let matrix = matrices.get(size);
  if (matrix === undefined) {
    matrix = new Variable([size, size + 2], () => dftValues(size));
    matrices.set(size, matrix);
  }
  return matrix;
}

function dftValues(size: number): Float32Array {
  const bins = size / 2 + 1;
  const turn = Float64Array.from({ length: size }, (_, i) => (2 * Math.PI * i) / size);
  const [cosines, sines] = [turn.map(Math.cos), turn.map(Math.sin)];
  const matrix = new Float32Array(size * 2 * bins);
  for (let t = 0; t < size; t++) {
    for (let k = 0; k < bins; k++) {
      const at = (k * t) % size;
      matrix[t * 2 * bins + k] = cosines[at];
      matrix[t * 2 * bins + bins + k] = -sines[at];
    }
  }
  return matrix;
}
