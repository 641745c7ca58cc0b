/** Softmax attention: one kernel forward and one backward where there are kernels, else TensorFlow's ops. */
import { attr, autocast, autocastType, hasKernels, runKernel, type Tensor, tf } from "../runtime/index.ts";
import { dropout, dropoutScope } from "./dropout.ts";
import { softmax, withGradient } from "./functional.ts";

export interface AttentionOptions {
  /** Replaces 1 / sqrt(headDim) (T5 uses 1). */
  scale?: number;
  /** Dropout of the attention weights, in training. */
  dropout?: number;
  /** Whether the products stay in float32 under autocast. */
  asFloat32?: boolean;
  /** The last query sees all keys, each one before it one less. */
  causal?: boolean;
  /** How many keys before its own a query of causal attention sees; null: all. */
  pastContext?: number | null;
}

export interface ProjectedAttentionOptions extends AttentionOptions {
  heads: number;
  /** Heads of keys and values, each for heads / kvHeads neighbouring heads of queries. */
  kvHeads?: number;
  /** Added to the scores, broadcastable to [B, H, S, L]. */
  bias?: Tensor | null;
  /** The same without a gradient, instead. */
  mask?: Tensor | null;
}

/** Number that a masked score gets: far below any real one, yet finite, so that a fully masked row stays finite. */
export const maskedScore = -1e9;

/**
 * softmax(q k^T / sqrt(headDim) + bias) v.
 * q [B, H, S, Dh], k and v [B, H, L, Dh], bias null or broadcastable to [B, H, S, L] -> [B, H, S, Dh].
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  bias: Tensor | null,
  options: AttentionOptions = {},
): Tensor {
  const heads = q.shape[1]!;
  if (!isFused(options) || !fitsKernel(q, k, bias)) return composition(q, k, v, bias, options);
  return kernel([q, k, v], bias, bias !== null, { ...options, heads, kvHeads: heads });
}

/**
 * The same on projections as linear layers give them: one tensor [q | k | v], two (q and [k | v]) or three, each
 * [B, S or L, heads * Dh] -> [B, S, H * Dh].
 */
export function projectedAttention(projections: Tensor[], options: ProjectedAttentionOptions): Tensor {
  const { heads, kvHeads = heads } = options;
  const added = options.bias ?? options.mask ?? null;
  if (isFused(options)) return kernel(projections, added, Boolean(options.bias), { ...options, kvHeads });
  const [q, k, v] = separate(projections, heads, kvHeads);
  const repeated = [k, v].map((x) => repeatHeads(x, heads / kvHeads));
  return mergeHeads(composition(q, repeated[0], repeated[1], added, options));
}

/** Whether attention with these options is our own kernel, which drops no weights and knows no float16. */
export function isFused({ dropout: p = 0, asFloat32 = false }: AttentionOptions): boolean {
  const drops = p > 0 && dropoutScope() !== null;
  return hasKernels() && !drops && (asFloat32 || autocastType() !== "float16");
}

/** [B, L, N Dh] -> [B, N, L, Dh] */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [batch, length, width] = x.shape as [number, number, number];
  return tf.transpose(x.reshape([batch, length, heads, width / heads]), [0, 2, 1, 3]);
}

/** [B, N, L, Dh] -> [B, L, N Dh] */
export function mergeHeads(x: Tensor): Tensor {
  const [batch, heads, length, headDim] = x.shape as [number, number, number, number];
  return tf.transpose(x, [0, 2, 1, 3]).reshape([batch, length, heads * headDim]);
}

/** [B, N, L, Dh] -> [B, N repeat, L, Dh]: each head of keys or values for all queries that share it. */
export function repeatHeads(x: Tensor, repeat: number): Tensor {
  if (repeat === 1) return x;
  const [batch, heads, length, headDim] = x.shape as [number, number, number, number];
  const copies = Array.from({ length: repeat }, () => x);
  return tf.stack(copies, 2).reshape([batch, heads * repeat, length, headDim]);
}

/** [1, 1, S, L]: 0 where causal attention sees a key, a very low score where not. */
export function causalBias(queries: number, keys: number, pastContext: number | null): Tensor {
  const own = tf.range(keys - queries, keys, 1, "float32").reshape([queries, 1]);
  const age = tf.sub(own, tf.range(0, keys, 1, "float32").reshape([1, keys]));
  let hidden = tf.less(age, 0);
  if (pastContext !== null) hidden = tf.logicalOr(hidden, tf.greater(age, pastContext));
  return tf.mul(hidden.toFloat(), maskedScore).reshape([1, 1, queries, keys]);
}

/** A bias of a shape that the kernel knows. */
function fitsKernel(q: Tensor, k: Tensor, bias: Tensor | null): boolean {
  if (bias === null) return true;
  const [batch, heads, queries] = q.shape;
  const [b, h, s, l] = bias.shape as number[];
  const fits = (size: number, full: number) => size === 1 || size === full;
  return (
    bias.rank === 4 && fits(b, batch) && fits(h, heads!) && fits(s, queries!) && l === (k.shape[2] as number)
  );
}

/** The ops of native/kernels/attention.cc. `trained`: the bias, too, gets a gradient. */
function kernel(
  projections: Tensor[],
  bias: Tensor | null,
  trained: boolean,
  options: ProjectedAttentionOptions & { kvHeads: number },
): Tensor {
  const { heads, kvHeads, scale, asFloat32 = false, causal = false, pastContext = null } = options;
  const first = projections[0].shape;
  const headsInFirst = heads + (projections.length === 1 ? 2 * kvHeads : 0);
  const split = first.length === 4;
  const headDim = split ? first[3]! : first[2]! / headsInFirst;
  const queries = split ? first[2]! : first[1]!;
  const shape = split ? first : [first[0], queries, heads * headDim];
  const attrs = {
    count: attr.int(projections.length),
    heads: attr.int(heads),
    kv_heads: attr.int(kvHeads),
    causal,
    window: attr.int(causal && pastContext !== null ? pastContext : -1),
    scale: attr.float(scale ?? 1 / Math.sqrt(headDim)),
    round: autocastType() === "bfloat16" && !asFloat32,
  };
  const inputs = bias !== null && trained ? [...projections, bias] : projections;
  return withGradient(inputs, (given, save) => {
    const added = bias === null ? (tf.scalar(0) as Tensor) : trained ? given[projections.length] : bias;
    const operands = [...given.slice(0, projections.length), added];
    const [y, stats] = runKernel("MgAttention", operands, attrs, [shape, [first[0], heads, 2, queries]]);
    save([...operands, y, stats]);
    return {
      value: y,
      gradFunc: (dy, saved) => {
        const shapes = inputs.map((input) => input.shape);
        const biases = attr.int(inputs.length - projections.length);
        return runKernel("MgAttentionGrad", [...saved, dy], { ...attrs, biases }, shapes);
      },
    };
  });
}

/** Of projections in one, two or three tensors: q [B, H, S, Dh], k and v [B, Hkv, L, Dh]. */
function separate(projections: Tensor[], heads: number, kvHeads: number): Tensor[] {
  const [first, second] = projections;
  let parts = projections;
  if (projections.length === 1) {
    const headDim = first.shape[2]! / (heads + 2 * kvHeads);
    parts = tf.split(first, [heads * headDim, kvHeads * headDim, kvHeads * headDim], -1);
  } else if (projections.length === 2) {
    parts = [first, ...tf.split(second, 2, -1)];
  }
  return parts.map((part, i) => splitHeads(part, i === 0 ? heads : kvHeads));
}

/** Attention by TensorFlow's ops, with the scores in memory. */
function composition(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  bias: Tensor | null,
  { scale, dropout: p = 0, asFloat32 = false, causal = false, pastContext = null }: AttentionOptions,
): Tensor {
  const headDim = q.shape[q.shape.length - 1];
  const product = asFloat32 ? float32Product : plainProduct;
  let scores = product(tf.mul(q, scale ?? 1 / Math.sqrt(headDim)), k, true);
  if (bias !== null) scores = tf.add(scores, bias);
  if (causal) scores = tf.add(scores, causalBias(q.shape[2]!, k.shape[2]!, pastContext));
  return product(dropout(softmax(scores), p), v, false);
}

/** a b, or a b^T, over the last two axes. */
function plainProduct(a: Tensor, b: Tensor, transposeB: boolean): Tensor {
  return tf.matMul(a as never, b as never, false, transposeB);
}

/** The same without the precision that is in force, forward and backward. */
function float32Product(a: Tensor, b: Tensor, transposeB: boolean): Tensor {
  const multiply = (x: Tensor, y: Tensor, transposeX: boolean, transposeY: boolean): Tensor =>
    autocast(null, () => tf.matMul(x as never, y as never, transposeX, transposeY));
  return withGradient([a, b], ([x, y], save) => {
    save([x, y]);
    return {
      value: multiply(x, y, false, transposeB),
      gradFunc: (dy, [x, y]) => [
        multiply(dy, y, false, !transposeB),
        transposeB ? multiply(dy, x, true, false) : multiply(x, dy, true, false),
      ],
    };
  });
}
