/**
 * Layers of the codec, and the same layers fed in pieces: what a stream gives piece by piece is, put together, what `forward`
 * gives for the whole, to rounding. So long audio takes the memory of a piece. Tensors are [B, T, C].
 */
import { Module } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";

export abstract class Layer extends Module {
  abstract forward(x: Tensor): Tensor;
  /** A stream that begins; it holds copies of what it needs of the weights. */
  abstract stream(): LayerStream;
}

export interface LayerStream {
  /**
   * Takes the next piece [B, n, C] (null: nothing new) and whether it is the last; returns what is final by now, [B, m, C'], or
   * null. What earlier calls returned is not repeated.
   */
  push(x: Tensor | null, last: boolean): Tensor | null;
  dispose(): void;
}

/** The stream of a layer that treats each frame by itself. */
export function stateless(forward: (x: Tensor) => Tensor): LayerStream {
  return { push: (x) => (x === null ? null : forward(x)), dispose: () => {} };
}

/** The stream of a layer of which no frame is final before the last: it gives everything at the end. */
export function holding(forward: (x: Tensor) => Tensor): LayerStream {
  const held = new Kept();
  return {
    push(x, last) {
      const whole = joined(held.take(), x);
      if (last && whole !== null) return forward(whole);
      held.set(whole);
      return null;
    },
    dispose: () => held.set(null),
  };
}

/** Layers one after the other; what a layer got is freed before the next but one runs. */
export function chain(layers: readonly Layer[]): LayerStream {
  const streams = layers.map((layer) => layer.stream());
  return {
    push(x, last) {
      let piece = x;
      for (const stream of streams) {
        const given = piece;
        piece = tf.tidy(() => stream.push(given, last) as Tensor);
        if (given !== null && given !== x && given !== piece) given.dispose();
      }
      return piece;
    },
    dispose: () => {
      for (const stream of streams) stream.dispose();
    },
  };
}

/** A place for a tensor that outlives the scope it was made in. */
export class Kept {
  private tensor: Tensor | null = null;

  set(tensor: Tensor | null): void {
    this.tensor?.dispose();
    this.tensor = tensor === null ? null : tf.keep(tf.clone(tensor));
  }

  /** The tensor, which belongs to the present scope from now on. */
  take(): Tensor | null {
    const tensor = this.tensor === null ? null : tf.clone(this.tensor);
    this.set(null);
    return tensor;
  }
}

/** T of x [B, T, C]. */
export function lengthOf(x: Tensor): number {
  const [, length] = x.shape;
  return length;
}

/** Two pieces in a row, either of which may be missing. */
export function joined(a: Tensor | null, b: Tensor | null): Tensor | null {
  if (a === null || b === null) return a ?? b;
  return tf.concat([a, b], 1);
}

/** Frames `from` to `to` of x [B, T, C]. */
export function frames(x: Tensor, from: number, to: number): Tensor {
  const [batch, length, channels] = x.shape;
  if (from === 0 && to === length) return x;
  return tf.slice(x, [0, from, 0], [batch, to - from, channels]);
}
