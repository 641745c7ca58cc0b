/** AudioCraft's codec for trying out a language model: tiny, random, always the same. */
import { UserError } from "../../errors.ts";
import { InitializerStream } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { buildEncodec } from "./config.ts";
import type { EncodecNetwork } from "./model.ts";

/** 25 frames a second of 4 codebooks of 400 entries, which are drawn with the spread of the latents of noise. */
export function debugEncodec(sampleRate: number): EncodecNetwork {
  if (sampleRate !== 16000 && sampleRate !== 32000) {
    throw new UserError(
      `//pretrained/debug_compression_model exists at 16000 and 32000 Hz, not at ${sampleRate}.`,
    );
  }
  const seed = 1234;
  const init = new InitializerStream(seed);
  const model = buildEncodec(
    {
      encodec: {
        autoencoder: "seanet",
        quantizer: "rvq",
        sample_rate: sampleRate,
        channels: 1,
        renormalize: false,
      },
      seanet: {
        n_filters: 4,
        n_residual_layers: 1,
        dimension: 32,
        ratios: sampleRate === 16000 ? [10, 8, 8] : [10, 8, 16],
      },
      rvq: { n_q: 4, bins: 400, kmeans_init: true },
    },
    init,
  );
  tf.tidy(() => {
    const uniform = init.uniform(1);
    const latents = model.encodeLatent(uniform([1, 1, sampleRate]));
    const [, dimension] = latents.shape;
    const mean = tf.mean(latents, 2);
    const std = tf.sqrt(tf.mean(tf.square(tf.sub(latents, mean.expandDims(2))), 2));
    let spread: Tensor = std;
    let centre: Tensor = mean;
    for (const codebook of model.quantizer.codebooks) {
      const draw = init.truncatedNormal(1)([model.cardinality, dimension]);
      const vectors = tf.add(tf.mul(draw, spread), centre);
      codebook.setVectors(vectors);
      // What is left over is centred and smaller.
      centre = tf.zerosLike(centre);
      spread = tf.mul(spread, 0.7);
    }
  });
  return model;
}
