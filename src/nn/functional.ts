/**
 * The operations that models are written in: tfjs's where they are good, ours with their own gradient where tfjs's are
 * slow, wrong or missing. All work eagerly and inside `jit`.
 */
import { attr, hasKernels, runKernel, runOp, type Tensor, tf } from "../runtime/index.ts";

type GradientFunction = (dy: Tensor, saved: Tensor[]) => Tensor | Tensor[];
type Save = (tensors: Tensor[]) => void;

/**
 * A function with a gradient of its own: `f` computes the value from the inputs and gives the function that turns dy and
 * what it saved into the gradients of the inputs.
 */
export function withGradient(
  inputs: Tensor[],
  f: (inputs: Tensor[], save: Save) => { value: Tensor; gradFunc: GradientFunction },
): Tensor {
  const op = tf.customGrad(((...args: unknown[]) => {
    const save = args[args.length - 1] as Save;
    return f(args.slice(0, -1) as Tensor[], save);
  }) as never);
  return op(...(inputs as never[])) as Tensor;
}

/** Rows of a table. weight [N, D], ids int32 [...] -> [..., D]. */
export function embedding(weight: Tensor, ids: Tensor): Tensor {
  const [rows, dim] = weight.shape;
  return withGradient([weight], ([table], save) => {
    save([ids]);
    return {
      value: gatherRows(table, ids),
      gradFunc: (dy, [i]) => segmentSum(dy.reshape([-1, dim]), i.reshape([-1]), rows),
    };
  });
}

/** Rows of `table` [N, ...] by int32 `ids` [...], without tfjs's check of the indices, which would read their values. */
export function gatherRows(table: Tensor, ids: Tensor): Tensor {
  const attrs = {
    Tparams: attr.type(table.dtype as "float32"),
    Tindices: attr.type("int32"),
    Taxis: attr.type("int32"),
    batch_dims: attr.int(0),
  };
  return runOp("GatherV2", [table, ids, tf.scalar(0, "int32")], attrs)[0];
}

/**
 * Picks along the third axis, codebook by codebook: x [B, K, N, ...], indexes int32 [K * length] -> [B, K, length, ...].
 * Without gradient.
 */
export function gatherAlong(x: Tensor, indexes: Int32Array, length: number): Tensor {
  const [batch, codebooks, from, ...rest] = x.shape;
  const flat = Int32Array.from(indexes, (index, i) => Math.floor(i / length) * from + index);
  const attrs = {
    Tparams: attr.type(x.dtype as "float32"),
    Tindices: attr.type("int32"),
    Taxis: attr.type("int32"),
    batch_dims: attr.int(0),
  };
  const rows = x.reshape([batch, codebooks * from, ...rest]);
  const [picked] = runOp("GatherV2", [rows, tf.tensor1d(flat, "int32"), tf.scalar(1, "int32")], attrs);
  return picked.reshape([batch, codebooks, length, ...rest]);
}

/** Sums rows [N, D] that share an id [N] into [segments, D]. */
export function segmentSum(rows: Tensor, ids: Tensor, segments: number): Tensor {
  const attrs = { T: attr.type("float32"), Tindices: attr.type("int32"), Tnumsegments: attr.type("int32") };
  return runOp("UnsortedSegmentSum", [rows, ids, tf.scalar(segments, "int32")], attrs)[0];
}

/** (x - mean) / sqrt(var + eps) * gamma + beta over the last axis, of size D. */
export function layerNorm(x: Tensor, gamma: Tensor, beta: Tensor, epsilon = 1e-5): Tensor {
  const dim = x.shape[x.shape.length - 1]!;
  if (hasKernels()) {
    return withGradient([x, gamma, beta], ([input, scale, shift], save) => {
      const rows = [input.size / dim];
      const [y, mean, rstd] = runKernel(
        "MgLayerNorm",
        [input, scale, shift],
        { epsilon: attr.float(epsilon) },
        [input.shape, rows, rows],
      );
      save([input, scale, mean, rstd]);
      return {
        value: y,
        gradFunc: (dy, saved) =>
          runKernel("MgLayerNormGrad", [dy, ...saved], {}, [input.shape, [dim], [dim]]),
      };
    });
  }
  return withGradient([x, gamma, beta], ([input, scale, shift], save) => {
    const mean = tf.mean(input, -1, true);
    const centred = tf.sub(input, mean);
    const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), epsilon));
    const normal = tf.mul(centred, rstd);
    save([normal, rstd, scale]);
    return {
      value: tf.add(tf.mul(normal, scale), shift),
      gradFunc: (dy, [n, r, g]) => {
        const dn = tf.mul(dy, g);
        const dx = tf.mul(
          r,
          tf.sub(tf.sub(dn, tf.mean(dn, -1, true)), tf.mul(n, tf.mean(tf.mul(dn, n), -1, true))),
        );
        const dGamma = tf.sum(tf.mul(dy, n).reshape([-1, dim]), 0);
        const dBeta = tf.sum(dy.reshape([-1, dim]), 0);
        return [dx, dGamma, dBeta];
      },
    };
  });
}

/** x / sqrt(mean(x^2) + eps) * gamma over the last axis (T5's norm: no mean, no bias). */
export function rmsNorm(x: Tensor, gamma: Tensor, epsilon = 1e-6): Tensor {
  if (!hasKernels()) {
    const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon));
    return tf.mul(tf.mul(x, rstd), gamma);
  }
  return withGradient([x, gamma], ([input, scale], save) => {
    const dim = input.shape[input.shape.length - 1]!;
    const shapes = [input.shape, [input.size / dim]];
    const [y, rstd] = runKernel("MgRmsNorm", [input, scale], { epsilon: attr.float(epsilon) }, shapes);
    save([input, scale, rstd]);
    return {
      value: y,
      gradFunc: (dy, saved) => runKernel("MgRmsNormGrad", [dy, ...saved], {}, [input.shape, [dim]]),
    };
  });
}

/** x Phi(x), with the exact error function; d/dx = Phi(x) + x phi(x). */
export function gelu(x: Tensor): Tensor {
  if (hasKernels()) {
    return withGradient([x], ([input], save) => {
      save([input]);
      return {
        value: runKernel("MgGelu", [input], {}, [input.shape])[0],
        gradFunc: (dy, [v]) => runKernel("MgGeluGrad", [dy, v], {}, [dy.shape])[0],
      };
    });
  }
  return withGradient([x], ([input], save) => {
    const cdf = tf.mul(tf.add(tf.erf(tf.mul(input, Math.SQRT1_2)), 1), 0.5);
    save([input, cdf]);
    return {
      value: tf.mul(input, cdf),
      gradFunc: (dy, [v, c]) => {
        const density = tf.mul(tf.exp(tf.mul(tf.square(v), -0.5)), 1 / Math.sqrt(2 * Math.PI));
        return tf.mul(dy, tf.add(c, tf.mul(v, density)));
      },
    };
  });
}

/** Softmax over the last axis, with the gradient y (dy - sum(dy y)). */
export function softmax(x: Tensor): Tensor {
  return withGradient([x], ([logits], save) => {
    const y = runOp("Softmax", [logits], { T: attr.type("float32") })[0];
    save([y]);
    return {
      value: y,
      gradFunc: (dy, [p]) => tf.mul(p, tf.sub(dy, tf.sum(tf.mul(dy, p), -1, true))),
    };
  });
}

/** Cross entropy of every row. logits [N, C], labels int32 [N] -> [N], in nats. */
export function softmaxCrossEntropy(logits: Tensor, labels: Tensor): Tensor {
  const attrs = { T: attr.type("float32"), Tlabels: attr.type("int32") };
  return withGradient([logits], ([input], save) => {
    const [loss, gradient] = runOp("SparseSoftmaxCrossEntropyWithLogits", [input, labels], attrs, 2);
    save([gradient]);
    return { value: loss, gradFunc: (dy, [g]) => tf.mul(g, dy.expandDims(-1)) };
  });
}

/**
 * The mean of the rows' cross entropies, by their weights: sum(w ce) / max(sum(w), 1), in nats. logits [N, C], labels int32 [N],
 * weights [N] -> []. Only with `hasKernels()`.
 */
export function meanCrossEntropy(logits: Tensor, labels: Tensor, weights: Tensor): Tensor {
  return withGradient([logits], ([input], save) => {
    const shapes = [[], [input.shape[0], 2]];
    const [loss, stats] = runKernel("MgCrossEntropy", [input, labels, weights], {}, shapes);
    save([input, labels, weights, stats]);
    return {
      value: loss,
      gradFunc: (dy, saved) => runKernel("MgCrossEntropyGrad", [dy, ...saved], {}, [input.shape])[0],
    };
  });
}

/** positions float32 [S] -> [1, S, dim]: [cos | sin] of position / maxPeriod^(j / (half - 1)) (Vaswani et al. 2017). */
export function sinusoidalEmbedding(positions: Tensor, dim: number, maxPeriod = 10000): Tensor {
  const half = dim / 2;
  const periods = Float32Array.from({ length: half }, (_, j) => maxPeriod ** (j / (half - 1)));
  const phase = tf.div(positions.reshape([-1, 1]), tf.tensor2d(periods, [1, half]));
  return tf.concat([tf.cos(phase), tf.sin(phase)], -1).expandDims(0);
}
