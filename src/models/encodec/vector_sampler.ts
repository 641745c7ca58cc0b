/** Random choice of vectors: what codebooks start from, and what replaces entries that nobody chooses. */
import { gatherRows } from "../../nn/index.ts";
import type { TorchGenerator } from "../../random/mt19937.ts";
import { attr, runOp, type Tensor, tf } from "../../runtime/index.ts";

/** `count` of the vectors [N, D], for the codebook of this number -> [count, D] */
export type VectorSampler = (vectors: Tensor, count: number, codebook: number) => Tensor;

/** Draws on the device, from a seed int32 [2] and the codebook's number: different vectors where there are enough. */
export function seededSampler(seed: Tensor): VectorSampler {
  return (vectors, count, codebook) => {
    const [rows] = vectors.shape;
    const stream = tf.add(seed, tf.tensor1d([0, codebook], "int32")).toInt() as Tensor;
    if (rows < count) {
      const u = uniform(count, stream);
      return gatherRows(vectors, tf.minimum(tf.floor(tf.mul(u, rows)), rows - 1).toInt());
    }
    const attrs = { T: attr.type("float32"), sorted: true };
    const [, indices] = runOp("TopKV2", [uniform(rows, stream), tf.scalar(count, "int32")], attrs, 2);
    return gatherRows(vectors, indices);
  };
}

/** Draws on the host, each vector alone. */
export function generatorSampler(random: TorchGenerator): VectorSampler {
  return (vectors, count) => {
    const rows = Int32Array.from({ length: count }, () => random.randint(vectors.shape[0]!));
    return gatherRows(vectors, tf.tensor1d(rows, "int32"));
  };
}

/** U(0, 1) [count] */
function uniform(count: number, seed: Tensor): Tensor {
  const attrs = { dtype: attr.type("float32"), T: attr.type("int32"), Tseed: attr.type("int32") };
  return runOp("StatelessRandomUniform", [tf.tensor1d([count], "int32"), seed], attrs)[0];
}
