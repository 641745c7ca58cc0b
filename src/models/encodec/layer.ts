/**
 * Layers of the codec, and the same layers fed in pieces: what a stream gives piece by piece is, put together, what `forward`
 * gives for the whole, to rounding. So long audio takes the memory of a piece. Tensors are [B, T, C].
 */
import { Module } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";

export abstract class Layer extends Module {
  /** Whether it is ELU, which a layer after it may apply in passing; and whether it is such a layer. */
  get isElu(): boolean {
    return false;
  }

  get takesElu(): boolean {
    return false;
  }

  /** What `around` asks for is only for layers that take ELU. */
  abstract forward(x: Tensor, around?: Around): Tensor;
  /** A stream that begins; it holds copies of what it needs of the weights. */
  abstract stream(around?: Pick<Around, "elu">): LayerStream;
}

export interface Around {
  /** The layer takes ELU(x) for x. */
  elu?: boolean;
  /** Is added to the result. */
  skip?: Tensor | null;
}

/** The layers that are left when those that take ELU do so. */
function merged(layers: readonly Layer[]): { layer: Layer; elu: boolean }[] {
  const taken = (i: number) => layers[i].isElu && i + 1 < layers.length && layers[i + 1].takesElu;
  return layers.flatMap((layer, i) => (taken(i) ? [] : [{ layer, elu: i > 0 && taken(i - 1) }]));
}

/** x through layers one after the other, plus `skip`. */
export function through(layers: readonly Layer[], x: Tensor, skip: Tensor | null = null): Tensor {
  const steps = merged(layers);
  let y = x;
  for (const [i, { layer, elu }] of steps.entries()) {
    const isLast = i === steps.length - 1;
    y = layer.takesElu ? layer.forward(y, { elu, skip: isLast ? skip : null }) : layer.forward(y);
    if (isLast && skip !== null && !layer.takesElu) y = tf.add(y, skip);
  }
  return y;
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
  const streams = merged(layers).map(({ layer, elu }) => layer.stream({ elu }));
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

/** Whether tfjs is recording what is computed now, to differentiate it. */
export function takesGradient(): boolean {
  return tf.engine().state.gradientDepth > 0;
}
