/** Padding of the time axis, in PyTorch's modes. Built of slices, whose gradients tfjs has right (mirrorPad's is wrong). */
import { UserError } from "../../errors.ts";
import { type Tensor, tf } from "../../runtime/index.ts";

/** Zeros; the clip mirrored at its ends; its first and last sample again; its other end. */
export type PadMode = "constant" | "reflect" | "replicate" | "circular";

const modes: readonly PadMode[] = ["constant", "reflect", "replicate", "circular"];

/** Checks a `pad_mode` of a config. */
export function parsePadMode(mode: string): PadMode {
  const known = modes.find((name) => name === mode);
  if (known !== undefined) return known;
  throw new UserError(`pad_mode=${mode} is not built: use one of ${modes.join(", ")}.`);
}

/** Padding that makes the last window full, with the larger half of the even part at the left (reference, section 4.7). */
export function convPadding(
  length: number,
  kernelSize: number,
  stride: number,
  dilation: number,
  causal: boolean,
): { left: number; right: number } {
  const extent = (kernelSize - 1) * dilation + 1;
  const total = extent - stride;
  const windows = Math.ceil((length - extent + total) / stride + 1);
  const extra = (windows - 1) * stride + extent - total - length;
  const right = causal ? 0 : Math.floor(total / 2);
  return { left: total - right, right: right + extra };
}

/**
 * x [B, T, C] -> [B, left + T + right, C]. Reflection repeats no edge sample; a clip that is too short for it is extended by
 * zeros first, and the result cut back.
 */
export function padTime(x: Tensor, left: number, right: number, mode: PadMode): Tensor {
  if (left < 0 || right < 0) throw new Error(`padTime: negative padding (${left}, ${right})`);
  if (left === 0 && right === 0) return x;
  switch (mode) {
    case "constant":
      return padZeros(x, left, right);
    case "reflect":
      return padMirrored(x, left, right);
    case "replicate":
      return padEdges(x, left, right);
    case "circular":
      return padAround(x, left, right);
  }
}

function padZeros(x: Tensor, left: number, right: number): Tensor {
  if (left === 0 && right === 0) return x;
  return tf.pad(x, [
    [0, 0],
    [left, right],
    [0, 0],
  ]);
}

function padMirrored(x: Tensor, left: number, right: number): Tensor {
  const [batch, length, channels] = x.shape;
  const missing = Math.max(0, Math.max(left, right) - length + 1);
  const whole = padZeros(x, 0, missing);
  const mirror = (start: number, size: number) =>
    tf.reverse(tf.slice(whole, [0, start, 0], [batch, size, channels]), 1);
  const parts = [whole];
  if (left > 0) parts.unshift(mirror(1, left));
  if (right > 0) parts.push(mirror(length + missing - 1 - right, right));
  const padded = tf.concat(parts, 1);
  return missing === 0 ? padded : tf.slice(padded, [0, 0, 0], [batch, left + length + right, channels]);
}

function padEdges(x: Tensor, left: number, right: number): Tensor {
  const [batch, length, channels] = x.shape;
  const repeated = (at: number, times: number) =>
    tf.mul(tf.slice(x, [0, at, 0], [batch, 1, channels]), tf.ones([1, times, 1]));
  const parts = [x];
  if (left > 0) parts.unshift(repeated(0, left));
  if (right > 0) parts.push(repeated(length - 1, right));
  return tf.concat(parts, 1);
}

function padAround(x: Tensor, left: number, right: number): Tensor {
  const [batch, length, channels] = x.shape;
  if (Math.max(left, right) > length) {
    throw new UserError(
      `pad_mode=circular pads by ${Math.max(left, right)} what is only ${length} long: give longer audio.`,
    );
  }
  const parts = [x];
  if (left > 0) parts.unshift(tf.slice(x, [0, length - left, 0], [batch, left, channels]));
  if (right > 0) parts.push(tf.slice(x, [0, 0, 0], [batch, right, channels]));
  return tf.concat(parts, 1);
}
