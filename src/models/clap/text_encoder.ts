/** CLAP's reader: RoBERTa (arXiv 1907.11692), post-norm. Names and layouts are those of Hugging Face files. */
import {
  attention,
  Embedding,
  gelu,
  LayerNorm,
  type Linear,
  Module,
  maskedScore,
  zeros,
} from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type { ClapTextConfig } from "./config.ts";
import { unset } from "./linear.ts";

/** The weights start as zeros and ones: they always come from a file. Always in evaluation mode. */
export class ClapTextEncoder extends Module {
  readonly embeddings: TextEmbeddings;
  readonly encoder: { layer: TextLayer[] };
  readonly pooler: { dense: Linear };

  constructor(config: ClapTextConfig) {
    super();
    this.embeddings = new TextEmbeddings(config);
    this.encoder = { layer: Array.from({ length: config.numLayers }, () => new TextLayer(config)) };
    this.pooler = { dense: unset(config.hiddenSize, config.hiddenSize) };
  }

  /**
   * ids int32 [B, L], positions int32 [B, L] (see `textPositions`), mask float32 [B, L] (1 on tokens) -> features [B, D] of
   * the first token
   */
  forward(ids: Tensor, positions: Tensor, mask: Tensor): Tensor {
    const [batch, length] = mask.shape;
    const bias = tf.mul(tf.sub(1, mask), maskedScore).reshape([batch, 1, 1, length]);
    const embedded = this.embeddings.forward(ids, positions);
    const hidden = this.encoder.layer.reduce((x, layer) => layer.forward(x, bias), embedded);
    const first = tf.slice(hidden, [0, 0, 0], [batch, 1, hidden.shape[2]!]).squeeze([1]);
    return tf.tanh(this.pooler.dense.forward(first));
  }
}

/** Positions of tokens in rows of `length`: they count from `padId` + 1 on; padding, and `<pad>` in a text, has `padId`. */
export function textPositions(ids: Int32Array, length: number, padId: number): Int32Array {
  const positions = new Int32Array(ids.length);
  for (let row = 0; row < ids.length; row += length) {
    let count = 0;
    for (let i = row; i < row + length; i++) positions[i] = padId + (ids[i] === padId ? 0 : ++count);
  }
  return positions;
}

class TextEmbeddings extends Module {
  readonly wordEmbeddings: Embedding;
  readonly positionEmbeddings: Embedding;
  readonly tokenTypeEmbeddings: Embedding;
  readonly layerNorm: LayerNorm;

  constructor({ vocabSize, maxPositions, tokenTypes, hiddenSize, epsilon }: ClapTextConfig) {
    super();
    this.wordEmbeddings = new Embedding(vocabSize, hiddenSize, zeros);
    this.positionEmbeddings = new Embedding(maxPositions, hiddenSize, zeros);
    this.tokenTypeEmbeddings = new Embedding(tokenTypes, hiddenSize, zeros);
    this.layerNorm = new LayerNorm(hiddenSize, epsilon);
  }

  protected override stateNames() {
    return { layerNorm: "LayerNorm" };
  }

  forward(ids: Tensor, positions: Tensor): Tensor {
    const [, hiddenSize] = this.tokenTypeEmbeddings.weight.shape;
    const type = tf.slice(this.tokenTypeEmbeddings.weight.value, [0, 0], [1, hiddenSize]);
    const words = tf.add(this.wordEmbeddings.forward(ids), type);
    return this.layerNorm.forward(tf.add(words, this.positionEmbeddings.forward(positions)));
  }
}

class TextLayer extends Module {
  readonly attention: { self: TextAttention; output: AddAndNorm };
  readonly intermediate: { dense: Linear };
  readonly output: AddAndNorm;

  constructor(config: ClapTextConfig) {
    super();
    const { hiddenSize, feedForwardSize } = config;
    this.attention = { self: new TextAttention(config), output: new AddAndNorm(hiddenSize, config) };
    this.intermediate = { dense: unset(hiddenSize, feedForwardSize) };
    this.output = new AddAndNorm(feedForwardSize, config);
  }

  forward(x: Tensor, bias: Tensor): Tensor {
    const attended = this.attention.output.forward(this.attention.self.forward(x, bias), x);
    return this.output.forward(gelu(this.intermediate.dense.forward(attended)), attended);
  }
}

class TextAttention extends Module {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  private readonly heads: number;

  constructor({ hiddenSize, numHeads }: ClapTextConfig) {
    super();
    this.query = unset(hiddenSize, hiddenSize);
    this.key = unset(hiddenSize, hiddenSize);
    this.value = unset(hiddenSize, hiddenSize);
    this.heads = numHeads;
  }

  forward(x: Tensor, bias: Tensor): Tensor {
    const [batch, length, dim] = x.shape;
    const [q, k, v] = [this.query, this.key, this.value].map((projection) =>
      projection
        .forward(x)
        .reshape([batch, length, this.heads, dim / this.heads])
        .transpose([0, 2, 1, 3]),
    );
    return attention(q, k, v, bias).transpose([0, 2, 1, 3]).reshape([batch, length, dim]);
  }
}

/** norm(residual + dense(x)) */
class AddAndNorm extends Module {
  readonly dense: Linear;
  readonly layerNorm: LayerNorm;

  constructor(from: number, { hiddenSize, epsilon }: ClapTextConfig) {
    super();
    this.dense = unset(from, hiddenSize);
    this.layerNorm = new LayerNorm(hiddenSize, epsilon);
  }

  protected override stateNames() {
    return { layerNorm: "LayerNorm" };
  }

  forward(x: Tensor, residual: Tensor): Tensor {
    return this.layerNorm.forward(tf.add(this.dense.forward(x), residual));
  }
}
