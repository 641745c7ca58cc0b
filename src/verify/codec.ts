/** What the checks of both families of EnCodec share. */
import { buildEncodec, type Section } from "../models/encodec/config.ts";
import { loadEncodec } from "../models/encodec/weights.ts";
import { InitializerStream, type TensorSource } from "../nn/index.ts";
import { type Tensor, tf } from "../runtime/index.ts";

export type Codec = ReturnType<typeof buildEncodec>;

export const codecTolerance = 5e-6;

/** The model of AudioCraft's sections, with weights. */
export function codecOf(config: Section, weights: TensorSource): Codec {
  const codec = buildEncodec(config, new InitializerStream(0));
  loadEncodec(codec, weights);
  return codec;
}

/** Squared distances that differ by less than this are equal: rounding may choose either entry. */
const codeMargin = 1e-5;

/**
 * Runs in the graph executor: layer by layer, op by op, it would take seconds. Results are copied out and freed.
 */
export function values(compute: () => Tensor): Float32Array | Int32Array {
  const result = tf.tidy(compute);
  const copy = result.dataSync().slice() as Float32Array;
  result.dispose();
  return copy;
}

/**
 * How many codes [B, K, T] are wrong: others than expected although the two entries are not equally near (within the margin)
 * to the latent, [B, D, T]. The later codebooks of a frame that chose otherwise are not compared.
 */
export function wrongCodes(actual: Tensor, expected: Tensor, latents: Tensor, codec: Codec): number {
  if (actual.shape.join() !== expected.shape.join()) {
    throw new Error(`codes of shape [${actual.shape}] where [${expected.shape}] is expected`);
  }
  const [batch, codebooks, frames] = expected.shape;
  const [got, wanted] = [actual.dataSync(), expected.dataSync()];
  const vectors = latents.dataSync();
  const dimension = latents.shape[1]!;
  const entries = codec.quantizer.codebooks.map((codebook) => codebook.embed.read());
  let wrong = 0;
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < frames; t++) {
      const residual = Float64Array.from(
        { length: dimension },
        (_, d) => vectors[(b * dimension + d) * frames + t],
      );
      for (let k = 0; k < codebooks; k++) {
        const distance = (code: number) =>
          residual.reduce((sum, x, d) => sum + (entries[k][code * dimension + d] - x) ** 2, 0);
        const at = (b * codebooks + k) * frames + t;
        if (got[at] !== wanted[at]) {
          if (Math.abs(distance(got[at]) - distance(wanted[at])) >= codeMargin) wrong++;
          break;
        }
        for (let d = 0; d < dimension; d++) residual[d] -= entries[k][wanted[at] * dimension + d];
      }
    }
  }
  return wrong;
}
