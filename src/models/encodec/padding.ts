/** Padding of the time axis, by zeros or by reflection. Built of slices, whose gradients tfjs has right (mirrorPad's is wrong). */
import { type Tensor, tf } from "../../runtime/index.ts";

/**
 * x [B, T, C] -> [B, left + T + right, C]. Reflection repeats no edge sample; a clip that is too short for it is extended by
 * zeros first, and the result cut back.
 */
export function padTime(x: Tensor, left: number, right: number, mode: "constant" | "reflect"): Tensor {
  if (left < 0 || right < 0) throw new Error(`padTime: negative padding (${left}, ${right})`);
  if (left === 0 && right === 0) return x;
  if (mode === "constant") return padZeros(x, left, right);
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

function padZeros(x: Tensor, left: number, right: number): Tensor {
  if (left === 0 && right === 0) return x;
  return tf.pad(x, [
    [0, 0],
    [left, right],
    [0, 0],
  ]);
}
