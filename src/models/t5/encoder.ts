/** T5 encoder (arXiv 1910.10683): token ids -> hidden states. Names and layout are those of Hugging Face files. */
import {
  dropout,
  Embedding,
  embedding,
  InitializerStream,
  Linear,
  Module,
  maskedScore,
  ones,
  Parameter,
  projectedAttention,
  rmsNorm,
  zeros,
} from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type { T5Config } from "./config.ts";
import { relativePositionBuckets } from "./relative_position.ts";

/**
 * The weights start as zeros and ones: they always come from a file. Dropout acts inside `withDropout`, where a finetuned
 * encoder runs in training.
 */
export class T5Encoder extends Module {
  readonly shared: Embedding;
  readonly encoder: T5Stack;
  readonly config: T5Config;

  constructor(config: T5Config) {
    super();
    this.config = config;
    this.shared = new Embedding(config.vocabSize, config.dModel, zeros);
    this.encoder = new T5Stack(config);
  }

  /** ids int32 [B, L], mask float32 [B, L] (1 on tokens, 0 on padding) -> [B, L, dModel], the final norm included. */
  forward(ids: Tensor, mask: Tensor): Tensor {
    return this.encoder.forward(this.shared.forward(ids), mask);
  }
}

class T5Stack extends Module {
  readonly block: T5Block[];
  readonly finalLayerNorm: RmsNorm;
  private readonly dropoutRate: number;

  constructor(config: T5Config) {
    super();
    this.block = Array.from({ length: config.numLayers }, (_, index) => new T5Block(config, index === 0));
    this.finalLayerNorm = new RmsNorm(config);
    this.dropoutRate = config.dropoutRate;
  }

  forward(x: Tensor, mask: Tensor): Tensor {
    const [batch, length] = mask.shape;
    const paddingBias = tf.mul(tf.sub(1, mask), maskedScore).reshape([batch, 1, 1, length]);
    const bias = tf.add(this.block[0].layer[0].selfAttention.positionBias(length), paddingBias) as Tensor;
    const start = dropout(x, this.dropoutRate);
    const y = this.block.reduce((hidden, block) => block.forward(hidden, bias), start);
    return dropout(this.finalLayerNorm.forward(y), this.dropoutRate);
  }
}

class T5Block extends Module {
  readonly layer: [SelfAttentionLayer, FeedForwardLayer];

  constructor(config: T5Config, isFirst: boolean) {
    super();
    this.layer = [new SelfAttentionLayer(config, isFirst), new FeedForwardLayer(config)];
  }

  forward(x: Tensor, bias: Tensor): Tensor {
    return this.layer[1].forward(this.layer[0].forward(x, bias));
  }
}

class SelfAttentionLayer extends Module {
  readonly selfAttention: T5Attention;
  readonly layerNorm: RmsNorm;
  private readonly dropoutRate: number;

  constructor(config: T5Config, hasPositions: boolean) {
    super();
    this.dropoutRate = config.dropoutRate;
    this.selfAttention = new T5Attention(config, hasPositions);
    this.layerNorm = new RmsNorm(config);
  }

  protected override stateNames() {
    return { selfAttention: "SelfAttention" };
  }

  forward(x: Tensor, bias: Tensor): Tensor {
    const attended = this.selfAttention.forward(this.layerNorm.forward(x), bias);
    return tf.add(x, dropout(attended, this.dropoutRate));
  }
}

/** Attention without the scale 1 / sqrt(d), whose positions are a learnt bias on the scores. */
class T5Attention extends Module {
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;
  /** Only the first layer has it; all layers use it. */
  readonly relativeAttentionBias: Embedding | null;
  private readonly config: T5Config;

  constructor(config: T5Config, hasPositions: boolean) {
    super();
    const { dModel, numHeads, dKv, numBuckets } = config;
    const inner = numHeads * dKv;
    this.config = config;
    this.q = projection(dModel, inner);
    this.k = projection(dModel, inner);
    this.v = projection(dModel, inner);
    this.o = projection(inner, dModel);
    this.relativeAttentionBias = hasPositions ? new Embedding(numBuckets, numHeads, zeros) : null;
  }

  /** x [B, L, D], bias broadcastable to [B, H, L, L] -> [B, L, D] */
  forward(x: Tensor, bias: Tensor): Tensor {
    const { numHeads: heads, dropoutRate: dropout } = this.config;
    const projections = [this.q, this.k, this.v].map((linear) => linear.forward(x));
    return this.o.forward(projectedAttention(projections, { heads, bias, scale: 1, dropout }));
  }

  /** The score that each head adds for how far key j is from query i: [1, H, L, L]. */
  positionBias(length: number): Tensor {
    const { numBuckets, maxDistance, numHeads } = this.config;
    const buckets = tf.tensor1d(relativePositionBuckets(length, numBuckets, maxDistance), "int32");
    const scores = embedding(this.relativeAttentionBias!.weight.value, buckets);
    return scores.transpose([1, 0]).reshape([1, numHeads, length, length]);
  }
}

class FeedForwardLayer extends Module {
  readonly denseReluDense: FeedForward | GatedFeedForward;
  readonly layerNorm: RmsNorm;
  private readonly dropoutRate: number;

  constructor(config: T5Config) {
    super();
    this.dropoutRate = config.dropoutRate;
    this.denseReluDense =
      config.feedForward === "gated-gelu" ? new GatedFeedForward(config) : new FeedForward(config);
    this.layerNorm = new RmsNorm(config);
  }

  protected override stateNames() {
    return { denseReluDense: "DenseReluDense" };
  }

  forward(x: Tensor): Tensor {
    return tf.add(x, dropout(this.denseReluDense.forward(this.layerNorm.forward(x)), this.dropoutRate));
  }
}

/** T5 1.0: wo(relu(wi x)). */
class FeedForward extends Module {
  readonly wi: Linear;
  readonly wo: Linear;
  private readonly dropoutRate: number;

  constructor({ dModel, dFf, dropoutRate }: T5Config) {
    super();
    this.dropoutRate = dropoutRate;
    this.wi = projection(dModel, dFf);
    this.wo = projection(dFf, dModel);
  }

  forward(x: Tensor): Tensor {
    return this.wo.forward(dropout(tf.relu(this.wi.forward(x)), this.dropoutRate));
  }
}

/** T5 1.1 and Flan-T5 (arXiv 2002.05202): wo(gelu(wi_0 x) * wi_1 x). */
class GatedFeedForward extends Module {
  readonly wi0: Linear;
  readonly wi1: Linear;
  readonly wo: Linear;
  private readonly dropoutRate: number;

  constructor({ dModel, dFf, dropoutRate }: T5Config) {
    super();
    this.dropoutRate = dropoutRate;
    this.wi0 = projection(dModel, dFf);
    this.wi1 = projection(dModel, dFf);
    this.wo = projection(dFf, dModel);
  }

  protected override stateNames() {
    return { wi0: "wi_0", wi1: "wi_1" };
  }

  forward(x: Tensor): Tensor {
    const gated = tf.mul(geluTanh(this.wi0.forward(x)), this.wi1.forward(x)) as Tensor;
    return this.wo.forward(dropout(gated, this.dropoutRate));
  }
}

class RmsNorm extends Module {
  readonly weight: Parameter;
  private readonly epsilon: number;

  constructor({ dModel, epsilon }: T5Config) {
    super();
    this.weight = new Parameter([dModel], ones);
    this.epsilon = epsilon;
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight.value, this.epsilon);
  }
}

/** The approximation of GELU by tanh (arXiv 1606.08415): x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). */
function geluTanh(x: Tensor): Tensor {
  const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), Math.sqrt(2 / Math.PI));
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}

const noDraws = new InitializerStream(0);

/** Linear without bias. */
function projection(from: number, to: number): Linear {
  return new Linear(from, to, noDraws, { bias: false, weight: zeros });
}
