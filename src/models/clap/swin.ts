/** A block of a Swin transformer (arXiv 2103.14030): attention inside of windows, then two dense layers, both pre-norm. */
import {
  attention,
  embedding,
  gelu,
  LayerNorm,
  type Linear,
  Module,
  Parameter,
  zeros,
} from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type { ClapAudioConfig } from "./config.ts";
import { unset } from "./linear.ts";

export interface SwinBlockShape {
  dim: number;
  heads: number;
  /** Height and width of what it gets. */
  side: number;
  /** Whether its windows lie half a window off those of the block before. */
  isShifted: boolean;
}

export class SwinBlock extends Module {
  readonly layernormBefore: LayerNorm;
  readonly attention: { self: WindowAttention; output: { dense: Linear } };
  readonly layernormAfter: LayerNorm;
  readonly intermediate: { dense: Linear };
  readonly output: { dense: Linear };
  private readonly side: number;
  private readonly window: number;
  private readonly shift: number;

  constructor(config: ClapAudioConfig, { dim, heads, side, isShifted }: SwinBlockShape) {
    super();
    const hidden = Math.trunc(config.mlpRatio * dim);
    this.side = side;
    // what fits into one window is not cut, and so needs no shifting
    this.window = Math.min(side, config.windowSize);
    this.shift = isShifted && side > config.windowSize ? Math.floor(config.windowSize / 2) : 0;
    this.layernormBefore = new LayerNorm(dim, config.epsilon);
    this.attention = {
      self: new WindowAttention(dim, heads, this.window, config.qkvBias),
      output: { dense: unset(dim, dim) },
    };
    this.layernormAfter = new LayerNorm(dim, config.epsilon);
    this.intermediate = { dense: unset(dim, hidden) };
    this.output = { dense: unset(hidden, dim) };
  }

  /** [B, side, side, C] -> the same */
  forward(x: Tensor): Tensor {
    const attended = tf.add(x, this.attend(this.layernormBefore.forward(x))) as Tensor;
    const inner = gelu(this.intermediate.dense.forward(this.layernormAfter.forward(attended)));
    return tf.add(attended, this.output.dense.forward(inner));
  }

  private attend(x: Tensor): Tensor {
    const { side, window, shift } = this;
    const [batch, , , channels] = x.shape;
    const count = Math.ceil(side / window);
    const padded = count * window;
    const edge: [number, number] = [0, padded - side];
    const whole = padded === side ? x : tf.pad(x, [[0, 0], edge, edge, [0, 0]]);
    const windows = roll(whole, shift)
      .reshape([batch, count, window, count, window, channels])
      .transpose([0, 1, 3, 2, 4, 5])
      .reshape([batch, count * count, window * window, channels]);
    const mask = shift === 0 ? null : shiftMask(count, window, shift);
    const attended = this.attention.output.dense.forward(this.attention.self.forward(windows, mask));
    const image = attended
      .reshape([batch, count, count, window, window, channels])
      .transpose([0, 1, 3, 2, 4, 5])
      .reshape([batch, padded, padded, channels]);
    return tf.slice(roll(image, -shift), [0, 0, 0, 0], [batch, side, side, channels]);
  }
}

/** Attention in every window, with a learnt bias for each distance in rows and columns. */
class WindowAttention extends Module {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  /** [(2 window - 1)^2, heads] */
  readonly relativePositionBiasTable: Parameter;
  private readonly heads: number;
  private readonly window: number;

  constructor(dim: number, heads: number, window: number, bias: boolean) {
    super();
    this.query = unset(dim, dim, bias);
    this.key = unset(dim, dim, bias);
    this.value = unset(dim, dim, bias);
    this.relativePositionBiasTable = new Parameter([(2 * window - 1) ** 2, heads], zeros);
    this.heads = heads;
    this.window = window;
  }

  /** x [B, windows, N, C], mask [windows, N, N] or null -> the same shape as x. Windows stand beside heads. */
  forward(x: Tensor, mask: Tensor | null): Tensor {
    const [batch, windows, length, channels] = x.shape;
    const { heads } = this;
    const [q, k, v] = [this.query, this.key, this.value].map((projection) =>
      projection
        .forward(x)
        .reshape([batch, windows, length, heads, channels / heads])
        .transpose([0, 1, 3, 2, 4])
        .reshape([batch, windows * heads, length, channels / heads]),
    );
    const shape = [1, windows * heads, length, length];
    const relative = tf.tile(this.positionBias().expandDims(0), [windows, 1, 1, 1]);
    const bias = mask === null ? relative : tf.add(relative, mask.expandDims(1));
    return attention(q, k, v, bias.reshape(shape))
      .reshape([batch, windows, heads, length, channels / heads])
      .transpose([0, 1, 3, 2, 4])
      .reshape([batch, windows, length, channels]);
  }

  /** [heads, N, N] */
  private positionBias(): Tensor {
    const { window } = this;
    const length = window * window;
    const indexes = Int32Array.from({ length: length * length }, (_, at) => {
      const [i, j] = [Math.floor(at / length), at % length];
      const rows = Math.floor(i / window) - Math.floor(j / window) + window - 1;
      const columns = (i % window) - (j % window) + window - 1;
      return rows * (2 * window - 1) + columns;
    });
    const scores = embedding(this.relativePositionBiasTable.value, tf.tensor1d(indexes, "int32"));
    return scores.reshape([length, length, this.heads]).transpose([2, 0, 1]);
  }
}

/** Moves the image by `shift` places towards the upper left; what leaves it comes in at the other side. */
function roll(x: Tensor, shift: number): Tensor {
  if (shift === 0) return x;
  const along = (image: Tensor, axis: number) => {
    const size = image.shape[axis];
    const [head, tail] = tf.split(image, shift > 0 ? [shift, size - shift] : [size + shift, -shift], axis);
    return tf.concat([tail, head], axis);
  };
  return along(along(x, 1), 2);
}

/**
 * [windows, N, N]: -100 between places that only the roll has made neighbours, else 0. Three regions along each axis: up to
 * the last window, in it before the seam, and behind the seam.
 */
function shiftMask(count: number, window: number, shift: number): Tensor {
  const side = count * window;
  const region = (at: number) => (at < side - window ? 0 : at < side - shift ? 1 : 2);
  const length = window * window;
  const values = new Float32Array(count * count * length * length);
  for (let w = 0; w < count * count; w++) {
    const regions = Array.from({ length }, (_, n) => {
      const row = Math.floor(w / count) * window + Math.floor(n / window);
      const column = (w % count) * window + (n % window);
      return 3 * region(row) + region(column);
    });
    for (let i = 0; i < length; i++) {
      for (let j = 0; j < length; j++) {
        if (regions[i] !== regions[j]) values[(w * length + i) * length + j] = -100;
      }
    }
  }
  return tf.tensor3d(values, [count * count, length, length]);
}
