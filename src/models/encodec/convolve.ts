/**
 * Convolution over time, [B, T, C], with all that EnCodec does before and after it (ELU, padding, bias, skip connection) in one
 * op, and with gradients. On CPUs by our own ops (native/kernels/conv.cc); else composed of TensorFlow's.
 *
 * A filter is [taps, P, Q]. The convolution takes P channels to Q; the transposed one, its adjoint, takes Q channels to P.
 */
import { withGradient } from "../../nn/index.ts";
import {
  attr,
  autocastType,
  hasKernels,
  ownProducts,
  runKernel,
  type Tensor,
  type Tensor4D,
  tf,
} from "../../runtime/index.ts";
import { type Around, lengthOf, takesGradient } from "./layer.ts";
import { type PadMode, padTime } from "./padding.ts";

export interface ConvGeometry {
  stride: number;
  dilation: number;
  /** Frames of padding. */
  left: number;
  right: number;
  padMode: PadMode;
}

/** x [B, T, P], filter [taps, P, Q], bias [Q] -> [B, (left + T + right - dilation (taps - 1) - 1) / stride + 1, Q] */
export function convolve(
  x: Tensor,
  filter: Tensor,
  bias: Tensor | null,
  geometry: ConvGeometry,
  around: Around = {},
): Tensor {
  const { left, right, padMode, ...steps } = geometry;
  if (!byKernel(geometry)) {
    const padded = padTime(around.elu ? tf.elu(x) : x, left, right, padMode);
    return plus(composedConvolution(padded, filter, steps.stride, steps.dilation), bias, around.skip);
  }
  // Only padding with zeros has its gradient in the op.
  if (padMode === "circular" || (padMode !== "constant" && takesGradient())) {
    const unpadded: ConvGeometry = { ...steps, left: 0, right: 0, padMode: "constant" };
    return convolve(padTime(x, left, right, padMode), filter, bias, unpadded, around);
  }
  const [taps, , outputs] = filter.shape;
  const padded = left + lengthOf(x) + right;
  const frames = Math.floor((padded - steps.dilation * (taps - 1) - 1) / steps.stride) + 1;
  const inputs = [x, filter, ...(bias ? [bias] : []), ...(around.skip ? [around.skip] : [])];
  const elu = around.elu ?? false;
  return withGradient(inputs, ([input, weights], save) => {
    save([input, weights]);
    const [value] = runConv({
      ...{ x: input, filter: weights, bias: bias ?? tf.zeros([outputs]), geometry, frames, elu },
      ...{ other: around.skip ?? null, finish: around.skip ? "add" : "nothing" },
    });
    return {
      value,
      gradFunc: (dy, [saved, w]) => [
        convolvePhased(
          dy,
          phased(w, steps.stride),
          null,
          { ...steps, skip: left, frames: lengthOf(saved) },
          {
            slopeOf: elu ? saved : null,
          },
        ),
        filterGradient(saved, dy, taps, geometry, { eluWindows: elu }),
        ...(bias ? [tf.sum(dy, [0, 1])] : []),
        ...(around.skip ? [tf.clone(dy)] : []),
      ],
    };
  });
}

export interface TransposedGeometry {
  stride: number;
  /** Frames to be cut from the start of the result, and frames to be kept. */
  skip: number;
  frames: number;
}

/** x [B, T, Q], filter [taps, P, Q], bias [P] -> of the [B, (T - 1) stride + taps, P] that there are, `frames` from `skip` on */
export function convolveTransposed(
  x: Tensor,
  filter: Tensor,
  bias: Tensor | null,
  { stride, skip, frames }: TransposedGeometry,
  { elu = false }: { elu?: boolean } = {},
): Tensor {
  const geometry: ConvGeometry = { stride, dilation: 1, left: skip, right: 0, padMode: "constant" };
  const [taps] = filter.shape;
  if (!byKernel(geometry)) {
    const full = composedTransposed(elu ? tf.elu(x) : x, filter, stride);
    const [batch, length, outputs] = full.shape;
    const whole = skip === 0 && frames === length;
    return plus(whole ? full : tf.slice(full, [0, skip, 0], [batch, frames, outputs]), bias);
  }
  return withGradient([x, filter, ...(bias ? [bias] : [])], ([input, weights], save) => {
    save([input, weights]);
    const steps = { stride, dilation: 1, skip, frames };
    return {
      value: convolvePhased(input, phased(weights, stride), bias, steps, { elu }),
      gradFunc: (dy, [saved, w]) => [
        runConv({
          ...{ x: dy, filter: w, bias: tf.zeros([lastOf(w)]), geometry, frames: lengthOf(saved), elu: false },
          ...{ other: elu ? saved : null, finish: elu ? "timesEluSlope" : "nothing" },
        })[0],
        filterGradient(dy, saved, taps, geometry, { eluRows: elu }),
        ...(bias ? [tf.sum(dy, [0, 1])] : []),
      ],
    };
  });
}

/** Whether a convolution that is computed or traced now runs as our own op. */
export function byKernel({ stride, dilation }: Pick<ConvGeometry, "stride" | "dilation">): boolean {
  if (stride !== 1 && dilation !== 1) return false;
  const type = autocastType();
  return type === null ? hasKernels() : type === "bfloat16" && ownProducts();
}

function plus(y: Tensor, ...terms: (Tensor | null | undefined)[]): Tensor {
  return terms.reduce<Tensor>((sum, term) => (term ? tf.add(sum, term) : sum), y);
}

const modes: Partial<Record<PadMode, number>> = { constant: 0, reflect: 1, replicate: 2 };
const finishes = { nothing: 0, add: 1, timesEluSlope: 2 };

function geometryAttrs({ stride, dilation, left, right, padMode }: ConvGeometry) {
  return {
    stride: attr.int(stride),
    dilation: attr.int(dilation),
    left: attr.int(left),
    right: attr.int(right),
    mode: attr.int(modes[padMode]!),
    round: autocastType() === "bfloat16",
  };
}

interface ConvCall {
  x: Tensor;
  filter: Tensor;
  bias: Tensor;
  geometry: ConvGeometry;
  frames: number;
  elu: boolean;
  /** A tensor like the result, and what is done with it. */
  other: Tensor | null;
  finish: keyof typeof finishes;
  /** Frames that a row of the product holds, and how many frames at the start are left out. */
  phases?: number;
  skip?: number;
}

function runConv(call: ConvCall): Tensor[] {
  const { x, filter, bias, geometry, frames, elu, other, finish, phases = 1, skip = 0 } = call;
  const attrs = {
    ...geometryAttrs(geometry),
    phases: attr.int(phases),
    skip: attr.int(skip),
    frames: attr.int(frames),
    elu,
    finish: attr.int(finishes[finish]),
  };
  return runKernel("MgConv1d", [x, filter, bias, other ?? bias], attrs, [[x.shape[0], frames, bias.size]]);
}

/**
 * The transposed convolution by our own op, from a `phased` filter. Not differentiable. With `slopeOf`, a tensor like the result, the
 * result is multiplied by the slope of ELU there: the gradient of a convolution of ELU(x).
 */
export function convolvePhased(
  x: Tensor,
  filter: Tensor,
  bias: Tensor | null,
  { stride, skip, frames, dilation = 1 }: TransposedGeometry & { dilation?: number },
  { elu = false, slopeOf = null }: { elu?: boolean; slopeOf?: Tensor | null } = {},
): Tensor {
  const [windows, , width] = filter.shape;
  const edge = (windows - 1) * dilation;
  return runConv({
    ...{ x, filter, bias: bias ?? tf.zeros([width / stride]), elu },
    geometry: { stride: 1, dilation, left: edge, right: edge, padMode: "constant" },
    ...{ other: slopeOf, finish: slopeOf === null ? "nothing" : "timesEluSlope" },
    ...{ phases: stride, skip, frames },
  })[0];
}

/**
 * The filter of the convolution that gives `stride` frames of the transposed one at once: [taps, P, Q] -> [windows, Q, stride P]. Frame
 * t - (windows - 1) + j of the input reaches phase p of row t by tap (windows - 1 - j) stride + p.
 */
export function phased(filter: Tensor, stride: number): Tensor {
  const [taps, outputs, inputs] = filter.shape;
  const windows = Math.ceil(taps / stride);
  const missing = windows * stride - taps;
  const whole = missing === 0 ? filter : padTime(filter.reshape([1, taps, -1]), 0, missing, "constant");
  const byWindow = tf.reverse(whole.reshape([windows, stride, outputs, inputs]), 0);
  return tf.transpose(byWindow, [0, 3, 1, 2]).reshape([windows, inputs, stride * outputs]);
}

/** x [B, T, P] in windows, rows [B, F, Q] -> sum over frames of window times row, [taps, P, Q] */
function filterGradient(
  x: Tensor,
  rows: Tensor,
  taps: number,
  geometry: ConvGeometry,
  { eluWindows = false, eluRows = false },
): Tensor {
  const attrs = {
    ...geometryAttrs(geometry),
    taps: attr.int(taps),
    elu_windows: eluWindows,
    elu_rows: eluRows,
  };
  return runKernel("MgConv1dFilterGradient", [x, rows], attrs, [[taps, lastOf(x), lastOf(rows)]])[0];
}

function lastOf(x: Tensor): number {
  return x.shape[x.shape.length - 1];
}

/** Valid convolution of TensorFlow's ops. */
function composedConvolution(x: Tensor, filter: Tensor, stride: number, dilation: number): Tensor {
  const [kernelSize, inChannels, outChannels] = filter.shape;
  const [batch, length] = x.shape;
  if (dilation === 1) {
    const image = x.reshape([batch, 1, length, inChannels]) as Tensor4D;
    const window = filter.reshape([1, kernelSize, inChannels, outChannels]) as Tensor4D;
    return tf.conv2d(image, window, [1, stride], "valid").squeeze([1]);
  }
  if (stride !== 1) throw new Error("convolve: stride and dilation at once");
  // Time folded into [T / dilation, dilation]: a dilated kernel is a plain one along the first axis.
  const rows = Math.ceil(length / dilation);
  const folded = padTime(x, 0, rows * dilation - length, "constant");
  const image = folded.reshape([batch, rows, dilation, inChannels]) as Tensor4D;
  const window = filter.reshape([kernelSize, 1, inChannels, outChannels]) as Tensor4D;
  const y = tf.conv2d(image, window, 1, "valid").reshape([batch, -1, outChannels]);
  return tf.slice(y, [0, 0, 0], [batch, length - dilation * (kernelSize - 1), outChannels]);
}

/** Transposed convolution of TensorFlow's ops, without trimming. */
function composedTransposed(x: Tensor, filter: Tensor, stride: number): Tensor {
  const [kernelSize, outChannels, inChannels] = filter.shape;
  const [batch, length] = x.shape;
  const image = x.reshape([batch, 1, length, inChannels]) as Tensor4D;
  const window = filter.reshape([1, kernelSize, outChannels, inChannels]) as Tensor4D;
  const samples = (length - 1) * stride + kernelSize;
  const outShape: [number, number, number, number] = [batch, 1, samples, outChannels];
  return tf.conv2dTranspose(image, window, outShape, [1, stride], "valid").squeeze([1]);
}
