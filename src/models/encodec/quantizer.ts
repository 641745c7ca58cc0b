/** Residual vector quantization: each codebook quantizes what the ones before it left over (EnCodec, section 3.2). */
import {
  constant,
  gatherRows,
  type Initializer,
  type InitializerStream,
  Module,
  Parameter,
  withGradient,
  zeros,
} from "../../nn/index.ts";
import { autocast, hasKernels, runKernel, type Tensor, tf } from "../../runtime/index.ts";
import {
  type CodebookLearning,
  learn,
  type OrthogonalRegularization,
  orthogonality,
} from "./codebook_learning.ts";

/** The `rvq` section of a config, as far as coding depends on it. */
export interface QuantizerOptions {
  dimension: number;
  codebooks: number;
  bins: number;
  /** The codebooks are made of the first training batch; until then they are zeros. */
  kmeansInit: boolean;
}

/** What a training step adds to quantization. */
export interface QuantizerTraining {
  /** int32 scalar: how many codebooks take part (quantizer dropout); null: all. */
  codebooks?: Tensor | null;
  /** How the codebooks move; null: not. */
  learning?: CodebookLearning | null;
  orthogonal?: OrthogonalRegularization | null;
}

export class ResidualVectorQuantizer extends Module {
  readonly vq: { layers: VectorQuantization[] };
  readonly bins: number;

  constructor(options: QuantizerOptions, init: InitializerStream) {
    super();
    this.bins = options.bins;
    const layer = () => new VectorQuantization(options, init);
    this.vq = { layers: Array.from({ length: options.codebooks }, layer) };
  }

  get codebooks(): EuclideanCodebook[] {
    return this.vq.layers.map((layer) => layer.codebook);
  }

  /** latents [B, T, D] -> codes int32 [B, codebooks, T] of the first `codebooks` codebooks */
  encode(latents: Tensor, codebooks: number): Tensor {
    const [batch, frames, dimension] = latents.shape;
    let residual = latents.reshape([batch * frames, dimension]);
    const codes = this.codebooks.slice(0, codebooks).map((codebook) => {
      const indices = codebook.encode(residual);
      residual = tf.sub(residual, codebook.decode(indices));
      return indices.reshape([batch, frames]);
    });
    return tf.stack(codes, 1);
  }

  /**
   * What training sees: latents [B, T, D] -> the same shape quantized, with the gradient going straight through; the codes of
   * all codebooks; and the penalty, the mean over codebooks of the squared distance between what a codebook got and what it
   * answered. With `learning`, the codebooks move (inside of the jitted step) after they have answered.
   */
  forward(
    latents: Tensor,
    options: QuantizerTraining = {},
  ): { quantized: Tensor; codes: Tensor; penalty: Tensor } {
    // distances decide between neighbours: they are not for 16 bits
    return autocast(null, () => this.quantize(latents, options));
  }

  private quantize(
    latents: Tensor,
    { codebooks = null, learning = null, orthogonal = null }: QuantizerTraining,
  ) {
    const [batch, frames, dimension] = latents.shape;
    const rows = latents.reshape([batch * frames, dimension]);
    let residual = rows;
    const codes: Tensor[] = [];
    const answers: Tensor[] = [];
    const penalties: Tensor[] = [];
    for (const [k, codebook] of this.codebooks.entries()) {
      const takesPart = codebooks === null ? null : tf.greater(codebooks, k);
      const counted = (x: Tensor) => (takesPart === null ? x : tf.mul(x, takesPart.toFloat())) as Tensor;
      const indices = codebook.encode(residual);
      const answer = counted(codebook.decode(indices));
      const rest = tf.sub(residual, answer) as Tensor;
      if (learning !== null) learn(codebook, k, residual, indices, learning, takesPart);
      const commitment = tf.mean(tf.square(rest)) as Tensor;
      const penalty =
        orthogonal === null ? commitment : tf.add(commitment, orthogonality(codebook, indices, orthogonal));
      codes.push(indices.reshape([batch, frames]));
      answers.push(answer);
      penalties.push(counted(penalty as Tensor));
      residual = rest;
    }
    const quantized = answers.reduce((sum, answer) => tf.add(sum, answer)).reshape(latents.shape);
    return {
      quantized: straightThrough(latents, quantized),
      codes: tf.stack(codes, 1) as Tensor,
      penalty: tf.div(tf.addN(penalties), codebooks ?? penalties.length) as Tensor,
    };
  }

  /** codes int32 [B, K, T], of the first K codebooks -> latents [B, T, D] */
  decode(codes: Tensor): Tensor {
    const layers = tf.unstack(codes, 1);
    return layers
      .map((indices, k) => this.codebooks[k].decode(indices))
      .reduce((sum, vectors) => tf.add(sum, vectors));
  }
}

/** One layer; it exists for its name in a state dict. */
class VectorQuantization extends Module {
  readonly codebook: EuclideanCodebook;

  constructor(options: QuantizerOptions, init: InitializerStream) {
    super();
    this.codebook = new EuclideanCodebook(options, init);
  }

  protected override stateNames() {
    return { codebook: "_codebook" };
  }
}

/** `bins` vectors and the statistics that training moves them by. */
export class EuclideanCodebook extends Module {
  /** 1 once the vectors are data: k-means on the first batch sets it. */
  readonly inited: Parameter;
  readonly clusterSize: Parameter;
  readonly embed: Parameter;
  readonly embedAvg: Parameter;

  /** Without k-means: U(-sqrt(6 / D), sqrt(6 / D)), PyTorch's kaiming_uniform. */
  constructor({ bins, dimension, kmeansInit }: QuantizerOptions, init: InitializerStream) {
    super();
    const vectors = kmeansInit ? zeros : init.uniform(Math.sqrt(6 / dimension));
    const buffer = (shape: number[], initial: Initializer) =>
      new Parameter(shape, initial, { trainable: false });
    this.inited = buffer([1], constant(kmeansInit ? 0 : 1));
    this.clusterSize = buffer([bins], zeros);
    this.embed = buffer([bins, dimension], vectors);
    this.embedAvg = buffer([bins, dimension], vectors);
  }

  /** Makes `vectors` [bins, D] the codebook, with statistics to move it by, or none. */
  setVectors(vectors: Tensor, statistics?: { counts: Tensor; sums: Tensor }): void {
    this.embed.assign(vectors);
    this.embedAvg.assign(statistics?.sums ?? vectors);
    this.clusterSize.assign(statistics?.counts ?? tf.zeros(this.clusterSize.shape));
    this.inited.assign(tf.ones([1]));
  }

  /** Makes the statistics those of `share` as many vectors: they move the entries the faster, the fewer they stand for. */
  scaleStatistics(share: number): void {
    for (const statistic of [this.clusterSize, this.embedAvg])
      statistic.assign(tf.mul(statistic.value, share));
  }

  /** vectors [N, D] -> index [N] of the nearest entry */
  encode(vectors: Tensor): Tensor {
    return nearest(vectors, this.embed.value);
  }

  /** indices int32 [...] -> vectors [..., D] */
  decode(indices: Tensor): Tensor {
    return gatherRows(this.embed.value, indices);
  }
}

/** vectors [N, D], entries [bins, D] -> index [N] of the nearest: argmax of -(|x|^2 - 2 x.e + |e|^2), the first of equals. */
export function nearest(vectors: Tensor, entries: Tensor): Tensor {
  if (hasKernels()) return runKernel("MgNearest", [vectors, entries], {}, [[vectors.shape[0]]])[0];
  const products = tf.matMul(vectors as never, entries as never, false, true) as Tensor;
  const own = tf.sum(tf.square(vectors), 1, true);
  const theirs = tf.sum(tf.square(entries), 1).expandDims(0);
  return tf.argMax(tf.neg(tf.add(tf.sub(own, tf.mul(products, 2)), theirs)), 1);
}

/** The value of `quantized`, with the gradient of `x`. */
function straightThrough(x: Tensor, quantized: Tensor): Tensor {
  return withGradient([x], () => ({ value: tf.clone(quantized), gradFunc: (dy) => tf.clone(dy) }));
}
