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
import { type Tensor, tf } from "../../runtime/index.ts";

/** The `rvq` section of a config, as far as coding depends on it. */
export interface QuantizerOptions {
  dimension: number;
  codebooks: number;
  bins: number;
  /** The codebooks are made of the first training batch; until then they are zeros. */
  kmeansInit: boolean;
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
   * What training sees: latents [B, T, D] -> the same shape quantized by all codebooks, with the gradient going straight
   * through, and the commitment penalty, the mean over codebooks of the squared distance between what a codebook got and
   * what it answered. Moves no codebook.
   */
  forward(latents: Tensor): { quantized: Tensor; codes: Tensor; penalty: Tensor } {
    const [batch, frames, dimension] = latents.shape;
    let residual = latents.reshape([batch * frames, dimension]);
    const codes: Tensor[] = [];
    const penalties: Tensor[] = [];
    for (const codebook of this.codebooks) {
      const indices = codebook.encode(residual);
      const rest = tf.sub(residual, codebook.decode(indices));
      codes.push(indices.reshape([batch, frames]));
      penalties.push(tf.mean(tf.square(rest)));
      residual = rest;
    }
    const quantized = straightThrough(latents, this.decode(tf.stack(codes, 1)));
    return { quantized, codes: tf.stack(codes, 1), penalty: tf.mean(tf.stack(penalties)) };
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

  /** Makes `vectors` [bins, D] the codebook, with empty statistics. */
  setVectors(vectors: Tensor): void {
    this.embed.assign(vectors);
    this.embedAvg.assign(vectors);
    this.clusterSize.assign(tf.zeros(this.clusterSize.shape));
    this.inited.assign(tf.ones([1]));
  }

  /** vectors [N, D] -> index [N] of the nearest: argmax of -(|x|^2 - 2 x.e + |e|^2), the first of equals. */
  encode(vectors: Tensor): Tensor {
    const embed = this.embed.value;
    const products = tf.matMul(vectors as never, embed as never, false, true) as Tensor;
    const own = tf.sum(tf.square(vectors), 1, true);
    const theirs = tf.sum(tf.square(embed), 1).expandDims(0);
    return tf.argMax(tf.neg(tf.add(tf.sub(own, tf.mul(products, 2)), theirs)), 1);
  }

  /** indices int32 [...] -> vectors [..., D] */
  decode(indices: Tensor): Tensor {
    return gatherRows(this.embed.value, indices);
  }
}

/** The value of `quantized`, with the gradient of `x`: x + stop_gradient(quantized - x). */
function straightThrough(x: Tensor, quantized: Tensor): Tensor {
  return withGradient([x], ([input]) => ({
    value: tf.add(input, tf.sub(quantized, input)),
    gradFunc: (dy) => tf.clone(dy),
  }));
}
