/**
 * Short-time Fourier transform with a gradient. (tfjs's own goes through complex numbers, of which it has no gradients; the
 * product with a Fourier matrix has, but its rounding shows in the logarithms of quiet bins.)
 */
import { attr, runOp, type Tensor, tf } from "../runtime/index.ts";
import { withGradient } from "./functional.ts";

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
  const frames = tf.mul(frame(x.expandDims(2), size, hop).squeeze([3]), window) as Tensor;
  const [real, imaginary] = tf.split(realFourier(frames), 2, 2);
  return { real, imaginary };
}

/**
 * x [..., size] -> the real parts, then the imaginary parts of its size / 2 + 1 bins. The gradient of a transform is a transform:
 * dx_t = sum_k re_k cos(2 pi k t / size) - im_k sin(…), which the inverse gives if the bins that it counts twice are halved.
 */
function realFourier(x: Tensor): Tensor {
  const size = x.shape[x.shape.length - 1];
  const fftLength = () => tf.tensor1d([size], "int32");
  return withGradient([x], ([input]) => {
    const [spectrum] = runOp("RFFT", [input, fftLength()], { Treal: real32, Tcomplex: complex64 });
    const parts = ["Real", "Imag"].map((part) => runOp(part, [spectrum], { T: complex64, Tout: real32 })[0]);
    return {
      value: tf.concat(parts, -1),
      gradFunc: (dy) => {
        const weights = new Float32Array(size / 2 + 1).fill(size / 2);
        weights[0] = weights[size / 2] = size;
        const [re, im] = tf.split(dy, 2, -1).map((part) => tf.mul(part, tf.tensor1d(weights)) as Tensor);
        const [bins] = runOp("Complex", [re, im], { T: real32, Tout: complex64 });
        return runOp("IRFFT", [bins, fftLength()], { Treal: real32, Tcomplex: complex64 })[0];
      },
    };
  });
}

const real32 = attr.type("float32");
/** DT_COMPLEX64 */
const complex64 = attr.type(8);

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
  const exact = parts * hop === size ? whole : tf.slice(whole, [0, 0, 0], [batch, frames, size * channels]);
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
