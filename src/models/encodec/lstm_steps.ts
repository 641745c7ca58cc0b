/**
 * An LSTM as single ops, every step in the graph: for XLA, which has neither TensorFlow's fused op nor its gradient. XLA fuses
 * the steps' elementwise parts; compiling takes longer with every step.
 */
import { type Tensor, tf } from "../../runtime/index.ts";

/** As `lstmFused` (lstm.ts), with tfjs's gradients: x [T, B, I] -> hidden states [T, B, D]. */
export function lstmSteps(x: Tensor, inputWeights: Tensor, recurrentWeights: Tensor, bias: Tensor): Tensor {
  const [steps, batch, inner] = x.shape;
  const products = tf.matMul(
    tf.reshape(x, [steps * batch, inner]) as never,
    inputWeights as never,
    false,
    true,
  );
  const inputs = tf.unstack(tf.reshape(tf.add(products, bias), [steps, batch, bias.size]));
  const outputs: Tensor[] = [];
  let hidden: Tensor = tf.zeros([batch, bias.size / 4]);
  let cell = hidden;
  for (const input of inputs) {
    const recurrent = tf.matMul(hidden as never, recurrentWeights as never, false, true);
    const [i, f, g, o] = tf.split(tf.add(input, recurrent), 4, 1);
    cell = tf.add(tf.mul(tf.sigmoid(f), cell), tf.mul(tf.sigmoid(i), tf.tanh(g)));
    hidden = tf.mul(tf.sigmoid(o), tf.tanh(cell));
    outputs.push(hidden);
  }
  return tf.stack(outputs);
}
