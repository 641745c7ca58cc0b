/** K-means for codebooks: Lloyd's iterations over latents, one codebook after the other on what is left over. */
import { gatherRows, segmentSum } from "../../nn/index.ts";
import type { TorchGenerator } from "../../random/mt19937.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type { EuclideanCodebook, ResidualVectorQuantizer } from "./quantizer.ts";

export interface KMeansOptions {
  iterations: number;
  /** Picks the vectors that a new codebook starts from, and those that replace entries nobody chose. */
  random: TorchGenerator;
  /** Starts from random vectors; otherwise from what the codebooks are. */
  restart: boolean;
}

/** Fits every codebook of `quantizer` to latents [N, D]. */
export function fitCodebooks(
  quantizer: ResidualVectorQuantizer,
  latents: Tensor,
  options: KMeansOptions,
): void {
  tf.tidy(() => {
    let residual = latents;
    for (const codebook of quantizer.codebooks) {
      fitCodebook(codebook, residual, options);
      residual = tf.sub(residual, codebook.decode(codebook.encode(residual)));
    }
  });
}

function fitCodebook(codebook: EuclideanCodebook, vectors: Tensor, options: KMeansOptions): void {
  const [count] = vectors.shape;
  const [bins] = codebook.embed.shape;
  const pick = () => {
    const rows = Int32Array.from({ length: bins }, () => options.random.randint(count));
    return gatherRows(vectors, tf.tensor1d(rows, "int32"));
  };
  if (options.restart) codebook.setVectors(pick());
  for (let i = 0; i < options.iterations; i++) {
    tf.tidy(() => {
      const indices = codebook.encode(vectors);
      const sizes = segmentSum(tf.ones([count, 1]), indices, bins);
      const means = tf.div(segmentSum(vectors, indices, bins), tf.maximum(sizes, 1));
      codebook.setVectors(tf.where(tf.greater(sizes, 0), means, pick()));
    });
  }
}
