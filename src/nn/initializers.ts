/**
 * First values of parameters, drawn by TensorFlow on the device from a seed. Every parameter has a seed of its own,
 * derived from the run's seed and a counter, so a model's weights do not depend on what else was drawn.
 */
import { attr, runOp, type Tensor, tf } from "../runtime/index.ts";

export type Initializer = (shape: number[]) => Tensor;

/** Makes initializers from one seed; each call of a drawing initializer takes the next stream. */
export class InitializerStream {
  private readonly seed: number;
  private next = 0;

  constructor(seed: number) {
    this.seed = seed;
  }

  /** U(-bound, bound). */
  uniform(bound: number): Initializer {
    const stream = this.next++;
    return (shape) => tf.mul(tf.sub(tf.mul(this.draw(shape, stream), 2), 1), bound);
  }

  /**
   * Normal of deviation `std`, cut at +-3 std, by inverting the cumulative distribution: sqrt(2) erfinv(u erf(3 / sqrt 2)).
   * (AudioCraft's `gaussian` weight_init.)
   */
  truncatedNormal(std: number): Initializer {
    const stream = this.next++;
    const erfOfCut = 0.9973002039367398; // erf(3 / sqrt(2))
    return (shape) => {
      const u = tf.mul(tf.sub(tf.mul(this.draw(shape, stream), 2), 1), erfOfCut);
      return tf.mul(runOp("Erfinv", [u], { T: attr.type("float32") })[0], std * Math.SQRT2);
    };
  }

  /** N(0, 1): the same with the uniform draw kept off the ends, where the inverse is infinite. */
  standardNormal(): Initializer {
    const stream = this.next++;
    const end = 1 - 2 ** -23;
    return (shape) => {
      const u = tf.clipByValue(tf.sub(tf.mul(this.draw(shape, stream), 2), 1), -end, end);
      return tf.mul(runOp("Erfinv", [u], { T: attr.type("float32") })[0], Math.SQRT2);
    };
  }

  private draw(shape: number[], stream: number): Tensor {
    const inputs = [tf.tensor1d(shape, "int32"), tf.tensor1d([this.seed, stream], "int32")];
    const attrs = { dtype: attr.type("float32"), T: attr.type("int32"), Tseed: attr.type("int32") };
    return runOp("StatelessRandomUniform", inputs, attrs)[0];
  }
}

/** The same value everywhere. */
export function constant(value: number): Initializer {
  return (shape) => tf.fill(shape, value);
}

export const zeros: Initializer = constant(0);
export const ones: Initializer = constant(1);

/** std = 1 / sqrt(fanIn), divided by sqrt(2 depth) when a depth is given (AudioCraft's init_layer). */
export function scaledStd(fanIn: number, depth: number | null): number {
  return 1 / Math.sqrt(fanIn) / (depth === null ? 1 : Math.sqrt(2 * depth));
}
