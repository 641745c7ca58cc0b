/** Distances of two tensors of one shape, value by value. */
import { withGradient } from "../nn/index.ts";
import { type Tensor, tf } from "../runtime/index.ts";

/** Mean of |a - b|. */
export function l1(a: Tensor, b: Tensor): Tensor {
  return tf.mean(absolute(tf.sub(a, b)));
}

/** Mean of (a - b)^2. */
export function l2(a: Tensor, b: Tensor): Tensor {
  return tf.mean(tf.square(tf.sub(a, b)));
}

/** |x|, with the gradient 0 at 0 (tfjs's is -1 there, which would move what already fits). */
function absolute(x: Tensor): Tensor {
  return withGradient([x], ([input], save) => {
    save([input]);
    return { value: tf.abs(input), gradFunc: (dy, [v]) => tf.mul(dy, tf.sign(v)) };
  });
}
