/** The transformer of MusicGen's language model (AudioCraft's StreamingTransformer), whole sequences or step by step. */
import { UserError } from "../../errors.ts";
import {
  attention,
  constant,
  gelu,
  type Initializer,
  type InitializerStream,
  LayerNorm,
  Linear,
  linear,
  Module,
  maskedScore,
  Parameter,
  scaledStd,
  sinusoidalEmbedding,
  zeros,
} from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";

/** The options of `transformer_lm`, with AudioCraft's keys. */
export interface TransformerConfig {
  dim: number;
  num_heads: number;
  num_layers: number;
  hidden_scale: number;
  norm_first: boolean;
  bias_ff: boolean;
  bias_attn: boolean;
  causal: boolean;
  past_context: number | null;
  layer_scale: number | null;
  activation: string;
  positional_embedding: string;
  cross_attention: boolean;
  qk_layer_norm: boolean;
  qk_layer_norm_cross: boolean;
  weight_init: string | null;
  depthwise_init: string | null;
  zero_bias_init: boolean;
}

/** What cross-attention looks at. */
export interface CrossSource {
  /** [B, L, D] */
  source: Tensor;
  /** [1, 1, 1, L] or [B, 1, 1, L]: 0 where attended, a very low score where not; null attends to all. */
  bias: Tensor | null;
}

/** Keys and values of one attention, [B, H, L, Dh] each. */
export interface KeyValues {
  keys: Tensor;
  values: Tensor;
}

/** What the layers remember between steps of generation. */
export interface StreamingState {
  /** Self-attention, per layer: steps that are settled, and a block of recent ones that is being filled. */
  past: KeyValues[];
  recent: KeyValues[];
  /** Cross-attention, per layer, computed once. */
  cross: KeyValues[];
  crossBias: Tensor | null;
}

export class Transformer extends Module {
  readonly layers: TransformerLayer[];
  private readonly config: TransformerConfig;

  constructor(config: TransformerConfig, init: InitializerStream) {
    super();
    if (config.dim % config.num_heads !== 0) {
      throw new UserError(
        `transformer_lm.dim=${config.dim} is not divisible by transformer_lm.num_heads=${config.num_heads}`,
      );
    }
    if (config.dim % 2 !== 0) throw new UserError(`transformer_lm.dim=${config.dim} must be even`);
    this.config = config;
    this.layers = Array.from(
      { length: config.num_layers },
      (_, index) => new TransformerLayer(config, index, init),
    );
  }

  /** x [B, S, D] -> [B, S, D]; appends every layer's keys and values to `kept`, for generation to start from. */
  forward(x: Tensor, cross: CrossSource | null, kept?: KeyValues[]): Tensor {
    const steps = x.shape[1]!;
    const bias = this.config.causal ? causalBias(steps, this.config.past_context) : null;
    let y = tf.add(x, sinusoidalEmbedding(tf.range(0, steps, 1, "float32"), this.config.dim)) as Tensor;
    for (const layer of this.layers) y = layer.forward(y, bias, cross, kept);
    return y;
  }

  /** Keys and values of the cross-attention source, per layer. */
  crossKeyValues(source: Tensor): KeyValues[] {
    return this.layers.map((layer) => layer.crossAttention!.project(source));
  }

  /**
   * One step. x [B, 1, D] at `position` (float32 scalar, counted from the start of the sequence), which goes to `slot`
   * (int32 scalar) of the block of recent steps. Returns the output [B, 1, D] and the block with this step in it.
   */
  step(x: Tensor, position: Tensor, slot: Tensor, state: StreamingState): { y: Tensor; recent: KeyValues[] } {
    const blockSize = state.recent[0].keys.shape[2]!;
    const isSlot = tf
      .oneHot(slot.reshape([1]) as never, blockSize)
      .toFloat()
      .reshape([1, 1, blockSize, 1]);
    const pastLength = state.past[0].keys.shape[2]!;
    const bias = streamingBias(pastLength, blockSize, slot, position, this.config.past_context);
    const recent: KeyValues[] = [];
    let y = tf.add(x, sinusoidalEmbedding(position.reshape([1]), this.config.dim)) as Tensor;
    for (const [index, layer] of this.layers.entries()) {
      const cross = state.cross.length > 0 ? { ...state.cross[index], bias: state.crossBias } : null;
      y = layer.step(y, isSlot, bias, state.past[index], state.recent[index], cross, recent);
    }
    return { y, recent };
  }
}

export class TransformerLayer extends Module {
  readonly selfAttn: MultiheadAttention;
  readonly linear1: Linear;
  readonly linear2: Linear;
  readonly norm1: LayerNorm;
  readonly norm2: LayerNorm;
  readonly layerScale1: LayerScale | null;
  readonly layerScale2: LayerScale | null;
  readonly crossAttention: MultiheadAttention | null = null;
  readonly normCross: LayerNorm | null = null;
  readonly layerScaleCross: LayerScale | null = null;
  private readonly normFirst: boolean;
  private readonly activation: (x: Tensor) => Tensor;

  constructor(config: TransformerConfig, index: number, init: InitializerStream) {
    super();
    const { dim } = config;
    const hidden = Math.trunc(config.hidden_scale * dim);
    const depth =
      config.depthwise_init === null
        ? null
        : config.depthwise_init === "current"
          ? index + 1
          : config.num_layers;
    const weights = weightInit(config, init);
    const feedForward = (from: number, to: number) =>
      new Linear(from, to, init, { bias: config.bias_ff, ...weights(from, depth) });
    const scale = () => (config.layer_scale === null ? null : new LayerScale(dim, config.layer_scale));

    this.selfAttn = new MultiheadAttention(config, config.qk_layer_norm, depth, init);
    this.linear1 = feedForward(dim, hidden);
    this.linear2 = feedForward(hidden, dim);
    this.norm1 = new LayerNorm(dim);
    this.norm2 = new LayerNorm(dim);
    this.layerScale1 = scale();
    this.layerScale2 = scale();
    if (config.cross_attention) {
      this.crossAttention = new MultiheadAttention(config, config.qk_layer_norm_cross, depth, init);
      this.normCross = new LayerNorm(dim);
      this.layerScaleCross = scale();
    }
    this.normFirst = config.norm_first;
    this.activation = activationOf(config.activation);
  }

  protected override stateNames(): Record<string, string> {
    return {
      layerScale1: "layer_scale_1",
      layerScale2: "layer_scale_2",
      layerScaleCross: "layer_scale_cross",
    };
  }

  /** x [B, S, D] -> [B, S, D]; appends this layer's keys and values to `kept` when given. */
  forward(x: Tensor, bias: Tensor | null, cross: CrossSource | null, kept?: KeyValues[]): Tensor {
    return this.residual(
      x,
      (y) => {
        const keyValues = this.selfAttn.project(y);
        kept?.push(keyValues);
        return this.selfAttn.attend(y, keyValues, bias);
      },
      cross &&
        ((y) => this.crossAttention!.attend(y, this.crossAttention!.project(cross.source), cross.bias)),
    );
  }

  /** x [B, 1, D]; see Transformer.step. */
  step(
    x: Tensor,
    isSlot: Tensor,
    bias: Tensor,
    past: KeyValues,
    recent: KeyValues,
    cross: (KeyValues & { bias: Tensor | null }) | null,
    kept: KeyValues[],
  ): Tensor {
    return this.residual(
      x,
      (y) => {
        const now = this.selfAttn.project(y); // [B, H, 1, Dh]
        const block = {
          keys: tf.add(recent.keys, tf.mul(now.keys, isSlot)),
          values: tf.add(recent.values, tf.mul(now.values, isSlot)),
        };
        kept.push(block);
        return this.selfAttn.attendSplit(y, past, block, bias);
      },
      cross && ((y) => this.crossAttention!.attend(y, cross, cross.bias)),
    );
  }

  private residual(
    x: Tensor,
    selfAttend: (y: Tensor) => Tensor,
    crossAttend: ((y: Tensor) => Tensor) | null,
  ): Tensor {
    const feedForward = (y: Tensor) => this.linear2.forward(this.activation(this.linear1.forward(y)));
    const add = (to: Tensor, y: Tensor, scale: LayerScale | null) =>
      tf.add(to, scale ? scale.forward(y) : y) as Tensor;
    let y = x;
    if (this.normFirst) {
      y = add(y, selfAttend(this.norm1.forward(y)), this.layerScale1);
      if (crossAttend) y = add(y, crossAttend(this.normCross!.forward(y)), this.layerScaleCross);
      return add(y, feedForward(this.norm2.forward(y)), this.layerScale2);
    }
    y = this.norm1.forward(add(y, selfAttend(y), this.layerScale1));
    // The original feeds the layer's input, not the running value, to post-norm cross-attention.
    if (crossAttend) y = this.normCross!.forward(add(y, crossAttend(x), this.layerScaleCross));
    return this.norm2.forward(add(y, feedForward(y), this.layerScale2));
  }
}

/** Attention with the packed projection [q | k | v] of the original checkpoints. */
class MultiheadAttention extends Module {
  readonly inProjWeight: Parameter;
  readonly inProjBias: Parameter | null;
  readonly outProj: Linear;
  readonly qLayerNorm: LayerNorm | null;
  readonly kLayerNorm: LayerNorm | null;
  private readonly heads: number;
  private readonly dim: number;

  constructor(config: TransformerConfig, qkNorm: boolean, depth: number | null, init: InitializerStream) {
    super();
    const { dim } = config;
    this.dim = dim;
    this.heads = config.num_heads;
    const bound = 1 / Math.sqrt(dim); // stays at PyTorch's default: the original does not re-initialise it
    this.inProjWeight = new Parameter([3 * dim, dim], init.uniform(bound));
    this.inProjBias = config.bias_attn
      ? new Parameter([3 * dim], config.zero_bias_init ? zeros : init.uniform(bound))
      : null;
    this.outProj = new Linear(dim, dim, init, {
      bias: config.bias_attn,
      ...weightInit(config, init)(dim, depth),
    });
    this.qLayerNorm = qkNorm ? new LayerNorm(dim) : null;
    this.kLayerNorm = qkNorm ? new LayerNorm(dim) : null;
  }

  /** Keys and values of a source [B, L, D] -> [B, H, L, Dh] each. */
  project(source: Tensor): KeyValues {
    const [k, v] = tf.split(this.projection(source, 1, 3), 2, -1);
    return { keys: this.split(this.kLayerNorm ? this.kLayerNorm.forward(k) : k), values: this.split(v) };
  }

  /** Attention of x [B, S, D] to keys and values [B, H, L, Dh] -> [B, S, D]. */
  attend(x: Tensor, { keys, values }: KeyValues, bias: Tensor | null): Tensor {
    return this.merge(attention(this.queries(x), keys, values, bias));
  }

  /** The same with keys and values in two parts, past and recent; bias [1, 1, 1, past + recent]. */
  attendSplit(x: Tensor, past: KeyValues, recent: KeyValues, bias: Tensor): Tensor {
    const q = tf.mul(this.queries(x), 1 / Math.sqrt(this.dim / this.heads));
    const scores = [past, recent].map(
      ({ keys }) => tf.matMul(q as never, keys as never, false, true) as Tensor,
    );
    const weights = tf.softmax(tf.add(tf.concat(scores, -1), bias));
    const parts = tf.split(weights, [past.keys.shape[2]!, recent.keys.shape[2]!], -1);
    const outputs = [past, recent].map(
      ({ values }, i) => tf.matMul(parts[i] as never, values as never) as Tensor,
    );
    return this.merge(tf.add(outputs[0], outputs[1]));
  }

  private queries(x: Tensor): Tensor {
    const q = this.projection(x, 0, 1);
    return this.split(this.qLayerNorm ? this.qLayerNorm.forward(q) : q);
  }

  /** x through thirds `from` to `to` of the packed projection. */
  private projection(x: Tensor, from: number, to: number): Tensor {
    const weight = tf.slice(
      this.inProjWeight.value,
      [from * this.dim, 0],
      [(to - from) * this.dim, this.dim],
    );
    const bias =
      this.inProjBias && tf.slice(this.inProjBias.value, [from * this.dim], [(to - from) * this.dim]);
    return linear(x, weight, bias);
  }

  /** [B, L, D] -> [B, H, L, Dh] */
  private split(x: Tensor): Tensor {
    const [batch, length] = x.shape;
    return tf.transpose(x.reshape([batch, length, this.heads, this.dim / this.heads]), [0, 2, 1, 3]);
  }

  /** [B, H, S, Dh] -> [B, S, D], through the output projection. */
  private merge(x: Tensor): Tensor {
    const [batch, , length] = x.shape;
    return this.outProj.forward(tf.transpose(x, [0, 2, 1, 3]).reshape([batch, length, this.dim]));
  }
}

class LayerScale extends Module {
  readonly scale: Parameter;

  constructor(dim: number, initial: number) {
    super();
    this.scale = new Parameter([dim], constant(initial));
  }

  forward(x: Tensor): Tensor {
    return tf.mul(x, this.scale.value);
  }
}

/** [1, 1, S, S]: 0 where the key is not after the query (and not more than `pastContext` before it). */
function causalBias(steps: number, pastContext: number | null): Tensor {
  const values = new Float32Array(steps * steps);
  for (let q = 0; q < steps; q++) {
    for (let k = 0; k < steps; k++) {
      if (k > q || (pastContext !== null && q - k > pastContext)) values[q * steps + k] = maskedScore;
    }
  }
  return tf.tensor4d(values, [1, 1, steps, steps]);
}

/** [1, 1, 1, past + block]: all of the past and the block up to the slot, no older than `pastContext`. */
function streamingBias(
  past: number,
  block: number,
  slot: Tensor,
  position: Tensor,
  pastContext: number | null,
): Tensor {
  const age = (length: number, last: Tensor) => tf.sub(last, tf.range(0, length, 1, "float32")); // 0 = this step
  const blockAge = age(block, slot.toFloat());
  const ages = tf.concat([age(past, position.toFloat()), blockAge]);
  let hidden = tf.less(ages, 0);
  if (pastContext !== null) hidden = tf.logicalOr(hidden, tf.greater(ages, pastContext));
  return tf.mul(hidden.toFloat(), maskedScore).reshape([1, 1, 1, past + block]);
}

/** Weight and bias initializers as `weight_init`, `depthwise_init` and `zero_bias_init` ask (AudioCraft's init_layer). */
function weightInit(config: TransformerConfig, init: InitializerStream) {
  return (fanIn: number, depth: number | null): { weight?: Initializer; biasInit?: Initializer } => {
    if (config.weight_init === null) return {};
    const std = scaledStd(fanIn, depth);
    const weight =
      config.weight_init === "gaussian" ? init.truncatedNormal(std) : init.uniform(std * Math.sqrt(3));
    return config.zero_bias_init ? { weight, biasInit: zeros } : { weight };
  };
}

function activationOf(name: string): (x: Tensor) => Tensor {
  if (name === "gelu") return gelu;
  if (name === "relu") return (x) => tf.relu(x);
  throw new UserError(`transformer_lm.activation=${name} is not built; use gelu or relu`);
}
