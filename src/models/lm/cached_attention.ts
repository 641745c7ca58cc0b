/**
 * Attention of single steps: to the keys and values of the steps before, which stand in variables of a fixed capacity and are
 * added to in place, and to a source that does not change.
 */
import { attention, maskedScore } from "../../nn/index.ts";
import { attr, hasKernels, runKernel, runOp, type Tensor, tf, Variable } from "../../runtime/index.ts";
import type { KeyValues } from "./attention.ts";
import { type Rotations, rotate } from "./rope.ts";

/** One layer's keys and values, [2, B, Hkv, capacity, Dh]. What is beyond the last step has no meaning, and takes no memory. */
export type LayerCache = Variable;

/** Where a step is. */
export interface CachePlace {
  /** int32 scalar */
  position: Tensor;
  /** What `packedRotation` gives, for queries and keys that are rotated. */
  rotation: Tensor | null;
  /** How many steps before it a step sees; null: all. */
  pastContext: number | null;
}

export interface CacheShape {
  layers: number;
  batch: number;
  kvHeads: number;
  capacity: number;
  headDim: number;
}

export class KeyValueCache {
  readonly layers: readonly LayerCache[];
  readonly shape: CacheShape;

  constructor(shape: CacheShape) {
    const { layers, batch, kvHeads, capacity, headDim } = shape;
    const dims = [2, batch, kvHeads, capacity, headDim];
    this.shape = shape;
    this.layers = Array.from({ length: layers }, () => new Variable(dims, () => empty(dims)));
  }

  /** Puts keys and values [B, Hkv, S, Dh] of the first S steps into every layer. */
  fill(steps: readonly KeyValues[]): void {
    for (const [index, { keys, values }] of steps.entries()) fillCache(this.layers[index], keys, values);
  }

  /** The variables that steps update by assigning to them; our own op writes into their values. */
  get assigned(): readonly Variable[] {
    return hasKernels() ? [] : this.layers;
  }

  /** Gives the memory back. The cache can be used again, and is empty then. */
  release(): void {
    for (const layer of this.layers) layer.dispose();
  }
}

/** Memory that nothing is written to, so that only what is used becomes real. */
function empty(dims: number[]): Tensor {
  return runOp("Empty", [tf.tensor1d(dims, "int32")], { dtype: attr.type("float32"), init: false })[0];
}

function fillCache(cache: LayerCache, keys: Tensor, values: Tensor): void {
  if (hasKernels()) {
    runKernel("MgFillCache", [cache.value, keys, values], {}, []);
    return;
  }
  const room = cache.shape[3] - keys.shape[2]!;
  cache.assign(tf.pad(tf.stack([keys, values]), [[0, 0], [0, 0], [0, 0], [0, room], [0, 0]]) as Tensor); // biome-ignore format: pairs
}

/** Rotations of one step as one tensor [4, Dh]: of queries, own and other factors, and of keys. */
export function packedRotation({ queries, keys }: Rotations): Tensor {
  return tf.concat([queries.own, queries.other, keys.own, keys.other], 0);
}

/**
 * packed [B, 1, (H + 2 Hkv) Dh], the queries, keys and values of the step at `position`: its keys and values go into the cache,
 * then its queries attend to all up to it. -> [B, 1, H Dh]
 */
export function cachedAttention(packed: Tensor, cache: LayerCache, place: CachePlace): Tensor {
  const [, batch, kvHeads, , headDim] = cache.shape;
  const dim = packed.shape[2]! - 2 * kvHeads * headDim;
  const { position, rotation, pastContext } = place;
  if (hasKernels()) {
    const inputs = [packed, cache.value, position, rotation ?? tf.zeros([0])];
    return runKernel("MgCachedAttention", inputs, { past_context: attr.int(pastContext ?? -1) }, [
      [batch, 1, dim],
    ])[0];
  }
  return composedCachedAttention(packed, cache, place);
}

/** The same of TensorFlow's ops: attention to the whole capacity, masked. */
function composedCachedAttention(
  packed: Tensor,
  cache: LayerCache,
  { position, rotation, pastContext }: CachePlace,
): Tensor {
  const [, batch, kvHeads, capacity, headDim] = cache.shape;
  const heads = packed.shape[2]! / headDim - 2 * kvHeads;
  const parts = tf.split(
    packed.reshape([batch, heads + 2 * kvHeads, 1, headDim]),
    [heads, kvHeads, kvHeads],
    1,
  );
  const [queriesOwn, queriesOther, keysOwn, keysOther] = rotation ? tf.split(rotation, 4, 0) : [];
  const queries = rotation ? rotate(parts[0], { own: queriesOwn, other: queriesOther }) : parts[0];
  const keys = rotation ? rotate(parts[1], { own: keysOwn, other: keysOther }) : parts[1];

  const ages = tf.sub(position.toFloat(), tf.range(0, capacity, 1, "float32")); // 0 is this step
  const column = (x: Tensor) => x.reshape([1, 1, 1, capacity, 1]);
  const older = tf.where(column(tf.greater(ages, 0)), cache.value, tf.zeros([1])); // no memory without meaning
  const filled = tf.where(column(tf.equal(ages, 0)), tf.stack([keys, parts[2]]), older) as Tensor;
  cache.assign(filled);

  const [k, v] = tf.unstack(filled);
  let hidden = tf.less(ages, 0);
  if (pastContext !== null) hidden = tf.logicalOr(hidden, tf.greater(ages, pastContext));
  const bias = tf.mul(hidden.toFloat(), maskedScore).reshape([1, 1, 1, capacity]) as Tensor;
  const grouped = queries.reshape([batch, kvHeads, heads / kvHeads, headDim]); // the queries that share keys
  return attention(grouped, k, v, bias).reshape([batch, 1, heads * headDim]);
}

/** queries [B, 1, H Dh] of a step to keys and values [B, H, L, Dh]; bias null, [1, 1, 1, L] or [B, 1, 1, L] -> [B, 1, H Dh]. */
export function stepAttention(queries: Tensor, { keys, values }: KeyValues, bias: Tensor | null): Tensor {
  const [batch, heads, , headDim] = keys.shape as [number, number, number, number];
  if (hasKernels()) {
    const inputs = [queries, keys, values, bias ?? tf.zeros([0])];
    return runKernel("MgStepAttention", inputs, {}, [[batch, 1, heads * headDim]])[0];
  }
  const y = attention(queries.reshape([batch, heads, 1, headDim]), keys, values, bias);
  return y.reshape([batch, 1, heads * headDim]);
}
