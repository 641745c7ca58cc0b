/** Rotary positional embedding (Su et al. 2021, arXiv 2104.09864), with the decay of xPos (Sun et al. 2022, arXiv 2212.10554). */
import { Module, Parameter, withGradient } from "../../nn/index.ts";
import { attr, hasKernels, runKernel, type Tensor, tf } from "../../runtime/index.ts";

/** Factors [S, Dh] of a rotation: of each value, and of the other one of its pair. */
export type Rotation = { own: Tensor; other: Tensor };

/** Rotations of the steps' queries and keys. */
export type Rotations = { queries: Rotation; keys: Rotation };

export interface RotaryOptions {
  maxPeriod: number;
  xpos: boolean;
  /** 0 turns the embedding off, 1 is the full rotation. */
  scale: number;
}

/** State dicts of the original hold the frequencies; so do ours, as buffers. */
export class RotaryEmbedding extends Module {
  readonly frequencies: Parameter;
  readonly xpos: XPos | null;
  private readonly scale: number;

  constructor(headDim: number, { maxPeriod, xpos, scale }: RotaryOptions) {
    super();
    const half = headDim / 2;
    this.frequencies = buffer(half, (j) => 1 / Math.fround(maxPeriod ** Math.fround((2 * j) / headDim)));
    this.xpos = xpos ? new XPos(half) : null;
    this.scale = scale;
  }

  /** positions float32 [S], counted from the start of the sequence -> the rotations of queries and of keys. */
  rotations(positions: Tensor): Rotations {
    const angles = tf.mul(positions.reshape([-1, 1]), this.frequencies.value.reshape([1, -1])) as Tensor;
    const decay = this.xpos?.decay(positions) ?? null;
    return {
      queries: this.rotation(angles, decay),
      keys: decay ? this.rotation(angles, tf.reciprocal(decay)) : this.rotation(angles, null),
    };
  }

  /** The complex factor decay e^(i angle) scale + (1 - scale), laid out for `rotate`. */
  private rotation(angles: Tensor, decay: Tensor | null): Rotation {
    const factor = (part: Tensor) => tf.mul(decay ? tf.mul(part, decay) : part, this.scale) as Tensor;
    const real = tf.add(factor(tf.cos(angles)), 1 - this.scale);
    const imaginary = factor(tf.sin(angles));
    return { own: interleave(real, real), other: interleave(tf.neg(imaginary), imaginary) };
  }
}

class XPos extends Module {
  readonly decayRates: Parameter;

  constructor(half: number) {
    super();
    this.decayRates = buffer(half, (j) => (Math.fround(j / half) + 0.4) / 1.4);
  }

  /** [S, half]: rate ^ (position / 512) */
  decay(positions: Tensor): Tensor {
    return tf.pow(this.decayRates.value.reshape([1, -1]), tf.div(positions, 512).reshape([-1, 1]));
  }
}

/** Rotates neighbours (x_2j, x_2j+1) as complex numbers. x [B, H, S, Dh] -> [B, H, S, Dh]. */
export function rotate(x: Tensor, { own, other }: Rotation): Tensor {
  const [batch, heads, steps, headDim] = x.shape as [number, number, number, number];
  const pairs = x.reshape([batch * heads, steps, headDim / 2, 2]);
  const swapped = tf.reverse(pairs, 3).reshape(x.shape);
  return tf.add(tf.mul(x, own), tf.mul(swapped, other));
}

/** Heads of queries and of keys, which stand side by side. */
export interface RotatedHeads {
  heads: number;
  kvHeads: number;
}

/**
 * The same for projections x [B, S, (heads + kvHeads + ...) Dh] -> the same shape: first come queries, then keys, and what is
 * behind them stays as it is.
 */
export function rotateProjection(
  x: Tensor,
  { queries, keys }: Rotations,
  { heads, kvHeads }: RotatedHeads,
): Tensor {
  const [steps, headDim] = queries.own.shape as [number, number];
  if (!hasKernels()) {
    const [batch, , width] = x.shape as [number, number, number];
    const sizes = [heads, kvHeads, width / headDim - heads - kvHeads];
    const parts = tf.split(x.reshape([batch, steps, width / headDim, headDim]), sizes, 2);
    return tf
      .concat([rotateHeads(parts[0], queries), rotateHeads(parts[1], keys), parts[2]], 2)
      .reshape(x.shape);
  }
  const tables = [queries.own, queries.other, keys.own, keys.other];
  const run = (input: Tensor, transposed: boolean) => {
    const attrs = { heads: attr.int(heads), kv_heads: attr.int(kvHeads), transposed };
    return runKernel("MgRope", [input, ...tables], attrs, [x.shape])[0];
  };
  return withGradient([x], ([input], save) => {
    save(tables);
    return { value: run(input, false), gradFunc: (dy) => run(dy, true) };
  });
}

/** x [B, S, N, Dh] -> the same. */
function rotateHeads(x: Tensor, { own, other }: Rotation): Tensor {
  const [batch, steps, heads, headDim] = x.shape as [number, number, number, number];
  if (heads === 0) return x;
  const swapped = tf.reverse(x.reshape([batch * steps, heads, headDim / 2, 2]), 3).reshape(x.shape);
  return tf.add(tf.mul(x, own.expandDims(1)), tf.mul(swapped, other.expandDims(1)));
}

/** [S, half] twice -> [S, 2 half], value by value. */
function interleave(even: Tensor, odd: Tensor): Tensor {
  const [steps, half] = even.shape as [number, number];
  return tf.stack([even, odd], 2).reshape([steps, 2 * half]);
}

function buffer(size: number, value: (index: number) => number): Parameter {
  const values = () => tf.tensor1d(Float32Array.from({ length: size }, (_, j) => value(j))) as Tensor;
  return new Parameter([size], values, { trainable: false });
}
