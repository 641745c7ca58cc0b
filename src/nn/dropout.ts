/**
 * Dropout whose draws are a function of a key: the same key gives the same draws, so that a run can be repeated and resumed, and
 * one traced step serves all keys.
 *
 * The key is set around a forward pass from outside (as the precision is); layers only say where they drop. Each place
 * that drops draws its own numbers, by its turn in the pass.
 */
import { attr, runOp, type Tensor, tf } from "../runtime/index.ts";

/** The draws of a pass: its key, and how many places have drawn. */
export interface DropoutScope {
  /** int32 [2]; in training usually the run's seed and the number of the update. */
  readonly key: Tensor;
  places: number;
}

let active: DropoutScope | null = null;

/** Runs `f` with dropout drawn from `key` int32 [2]; null: without dropout, as outside of training. */
export function withDropout<T>(key: Tensor | null, f: () => T): T {
  return withDropoutScope(key && { key, places: 0 }, f);
}

/** Where a pass stands in its draws; for going through a part of it again with the same draws (`withDropoutScope`). */
export function dropoutScope(): DropoutScope | null {
  return active && { ...active };
}

export function withDropoutScope<T>(scope: DropoutScope | null, f: () => T): T {
  const before = active;
  active = scope && { ...scope };
  try {
    return f();
  } finally {
    active = before;
  }
}

/** Zeroes values with probability `p` and divides the others by 1 - p; x itself outside of `withDropout`. */
export function dropout(x: Tensor, p: number): Tensor {
  if (active === null || p === 0) return x;
  if (p >= 1) return tf.zerosLike(x);
  // One stream per key and place: keys' first numbers are spread so far that places do not run into the next key's.
  const stream = tf.add(tf.mul(active.key, tf.tensor1d([65537, 1], "int32")), [active.places++, 0]).toInt();
  const attrs = { dtype: attr.type("float32"), T: attr.type("int32"), Tseed: attr.type("int32") };
  const [u] = runOp("StatelessRandomUniform", [tf.tensor1d(x.shape, "int32"), stream as Tensor], attrs);
  return tf.mul(x, tf.mul(tf.greaterEqual(u, p).toFloat(), 1 / (1 - p)));
}
