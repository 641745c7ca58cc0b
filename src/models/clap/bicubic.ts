/** Bicubic interpolation of a sequence as a matrix. */
import { type Tensor, tf } from "../../runtime/index.ts";

/**
 * [target, source]: samples at `target` equal steps from the first to the last of `source` values, by Keys' cubic kernel
 * with a = -0.75; values beyond the ends are those at the ends (PyTorch's `interpolate` with align_corners).
 */
export function bicubicMatrix(source: number, target: number): Tensor {
  const matrix = new Float32Array(target * source);
  const step = target > 1 ? (source - 1) / (target - 1) : 0;
  for (let i = 0; i < target; i++) {
    const position = i * step;
    const first = Math.floor(position) - 1;
    for (let j = first; j < first + 4; j++) {
      const column = Math.min(Math.max(j, 0), source - 1);
      matrix[i * source + column] += cubic(Math.abs(position - j));
    }
  }
  return tf.tensor2d(matrix, [target, source]);
}

/** R. Keys, "Cubic convolution interpolation for digital image processing", 1981, eq. 15, at distance x. */
function cubic(x: number): number {
  const a = -0.75;
  if (x <= 1) return (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1;
  if (x < 2) return a * (x ** 3 - 5 * x ** 2 + 8 * x - 4);
  return 0;
}
