/** From logits to the next token: temperature, top-k, top-p and a draw that a seed determines. All inside jit. */
import { attr, hasKernels, runKernel, runOp, type Tensor, tf } from "../../runtime/index.ts";

export interface SamplingOptions {
  /** False takes the most likely token. */
  use_sampling: boolean;
  temp: number;
  /** Keep the k most likely tokens (ties with the k-th stay); 0 keeps all. */
  top_k: number;
  /** Keep the most likely tokens until their mass reaches p; above 0 it takes the place of top_k. */
  top_p: number;
}

/** logits [B, ..., card] -> token int32 [B, ...]. `seeds` int32 [B, 2] determine the draws, each those of its row alone. */
export function sampleToken(logits: Tensor, options: SamplingOptions, seeds: Tensor): Tensor {
  if (!options.use_sampling || options.temp <= 0) return tf.argMax(logits, -1);
  if (hasKernels()) {
    const attrs = {
      temperature: attr.float(options.temp),
      top_k: attr.int(options.top_k),
      top_p: attr.float(options.top_p),
    };
    const inputs = [logits, uniform(logits.shape, seeds)];
    return runKernel("MgSampleToken", inputs, attrs, [logits.shape.slice(0, -1)])[0];
  }
  const { probabilities, tokens } = samplingDistribution(logits, options);
  const drawn = multinomial(probabilities, seeds);
  if (tokens === null) return drawn;
  const chosen = tf.oneHot(drawn as never, probabilities.shape[probabilities.rank - 1]);
  return tf.sum(tf.mul(tokens, chosen.toInt()), -1).toInt();
}

/**
 * The distribution that a token is drawn from, [..., card]. With top_p it is sorted, most likely first, and `tokens` says
 * which token stands where.
 */
export function samplingDistribution(logits: Tensor, { temp, top_k, top_p }: SamplingOptions) {
  const card = logits.shape[logits.rank - 1];
  const probabilities = tf.softmax(tf.div(logits, temp)) as Tensor;
  if (top_p > 0) {
    const { values, indices } = tf.topk(probabilities, card, true);
    const massBefore = tf.sub(tf.cumsum(values, values.rank - 1), values);
    const kept = tf.mul(values, tf.lessEqual(massBefore, top_p).toFloat());
    return { probabilities: normalize(kept), tokens: indices as Tensor };
  }
  if (top_k > 0 && top_k < card) {
    const { values } = tf.topk(probabilities, top_k, true);
    const smallest = tf.min(values, -1, true);
    const kept = tf.mul(probabilities, tf.greaterEqual(probabilities, smallest).toFloat());
    return { probabilities: normalize(kept), tokens: null };
  }
  return { probabilities, tokens: null };
}

/** Gumbel-max: argmax(log p - log(-log u)) is a draw from p. */
function multinomial(probabilities: Tensor, seeds: Tensor): Tensor {
  const u = uniform(probabilities.shape, seeds);
  const gumbel = tf.neg(tf.log(tf.neg(tf.log(tf.maximum(u, 1e-20)))));
  const scores = tf.where(
    tf.greater(probabilities, 0),
    tf.add(tf.log(tf.maximum(probabilities, 1e-38)), gumbel),
    tf.scalar(-1e30),
  );
  return tf.argMax(scores, -1);
}

/** Numbers in [0, 1): row b of `shape` is drawn with the seed of row b, so it does not depend on the other rows. */
function uniform([rows, ...rest]: number[], seeds: Tensor): Tensor {
  const attrs = { dtype: attr.type("float32"), T: attr.type("int32"), Tseed: attr.type("int32") };
  const shape = tf.tensor1d([1, ...rest], "int32");
  const drawn = Array.from({ length: rows }, (_, row) => {
    const seed = tf.reshape(tf.slice(seeds, [row, 0], [1, 2]), [2]);
    return runOp("StatelessRandomUniform", [shape, seed], attrs)[0];
  });
  return rows === 1 ? drawn[0] : tf.concat(drawn, 0);
}

function normalize(kept: Tensor): Tensor {
  return tf.div(kept, tf.sum(kept, -1, true));
}
