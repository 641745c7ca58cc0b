/** The transformer of MusicGen's language model (AudioCraft's StreamingTransformer), whole sequences or step by step. */
import {
  type Constants,
  constant,
  dropout,
  type InitializerStream,
  LayerNorm,
  Linear,
  Module,
  Parameter,
  type Part,
  recomputed,
  sinusoidalEmbedding,
} from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { type Activation, activationOf } from "./activations.ts";
import { type CrossSource, type KeyValues, MultiheadAttention, ropeOf } from "./attention.ts";
import { type CachePlace, type KeyValueCache, type LayerCache, packedRotation } from "./cached_attention.ts";
import { checkTransformerConfig, type TransformerConfig, usesRope } from "./config.ts";
import { weightInit } from "./initialization.ts";
import type { RotaryEmbedding, Rotations } from "./rope.ts";

/** What the layers remember between steps of generation. */
export interface StreamingState {
  /** Self-attention's keys and values of the steps so far. */
  cache: KeyValueCache;
  /** Cross-attention, per layer, computed once. */
  cross: KeyValues[];
  crossBias: Tensor | null;
}

/** What the layers of one pass share. */
interface Pass {
  cross: CrossSource | null;
  rotations: Rotations | null;
  /** Gets the keys and values of every layer, when they are asked for. */
  kept: KeyValues[] | null;
}

/** The same for one step. */
interface StepPass {
  cache: LayerCache;
  place: CachePlace;
  cross: (KeyValues & { bias: Tensor | null }) | null;
}

export class Transformer extends Module {
  readonly rope: RotaryEmbedding | null;
  readonly layers: TransformerLayer[];
  private readonly config: TransformerConfig;

  constructor(config: TransformerConfig, init: InitializerStream) {
    super();
    checkTransformerConfig(config);
    this.config = config;
    this.rope = usesRope(config) ? ropeOf(config) : null;
    this.layers = Array.from(
      { length: config.num_layers },
      (_, index) => new TransformerLayer(config, index, init),
    );
  }

  /** x [B, S, D] -> [B, S, D]; appends every layer's keys and values to `kept`, for generation to start from. */
  forward(x: Tensor, cross: CrossSource | null, kept: KeyValues[] | null = null): Tensor {
    const steps = x.shape[1]!;
    const positions = tf.range(0, steps, 1, "float32");
    const pass = { cross, rotations: this.rope?.rotations(positions) ?? null, kept };
    let y = this.addPositions(x, positions);
    for (const layer of this.layers) y = layer.forward(y, pass);
    return y;
  }

  /** Keys and values of the cross-attention source, per layer. */
  crossKeyValues(source: Tensor): KeyValues[] {
    return this.layers.map(({ crossAttention: attention }) =>
      attention!.keyValues(attention!.projectKeyValues(source)),
    );
  }

  /**
   * One step x [B, 1, D] at `position` (int32 scalar, counted from the start of the sequence), whose keys and values go into
   * the cache. -> [B, 1, D]
   */
  step(x: Tensor, position: Tensor, { cache, cross, crossBias }: StreamingState): Tensor {
    const positions = position.toFloat().reshape([1]);
    const rotation = this.rope ? packedRotation(this.rope.rotations(positions)) : null;
    const place = { position, rotation, pastContext: this.config.past_context };
    let y = this.addPositions(x, positions);
    for (const [index, layer] of this.layers.entries()) {
      const source = cross.length > 0 ? { ...cross[index], bias: crossBias } : null;
      y = layer.step(y, { cache: cache.layers[index], place, cross: source });
    }
    return y;
  }

  /** Adds the sinusoids of `positions` [S] to x [B, S, D], unless positions are only rotations. */
  private addPositions(x: Tensor, positions: Tensor): Tensor {
    const { dim, max_period: maxPeriod, positional_scale: scale = 1 } = this.config;
    if (this.config.positional_embedding === "rope") return x;
    return tf.add(x, tf.mul(sinusoidalEmbedding(positions, dim, maxPeriod), scale));
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
  private readonly config: TransformerConfig;
  private readonly activation: Activation;

  constructor(config: TransformerConfig, index: number, init: InitializerStream) {
    super();
    const { dim } = config;
    const hidden = Math.trunc(config.hidden_scale * dim);
    const depths: Record<string, number> = { current: index + 1, global: config.num_layers };
    const depth = config.depthwise_init === null ? null : depths[config.depthwise_init];
    const weights = weightInit(config, init);
    const feedForward = (from: number, to: number) =>
      new Linear(from, to, init, { bias: config.bias_ff, ...weights(from, depth) });
    const scale = () => (config.layer_scale === null ? null : new LayerScale(dim, config.layer_scale));

    this.activation = activationOf(config.activation);
    this.selfAttn = new MultiheadAttention(config, { cross: false, depth, init });
    this.linear1 = feedForward(dim, hidden);
    this.linear2 = feedForward(hidden / this.activation.width, dim);
    this.norm1 = new LayerNorm(dim);
    this.norm2 = new LayerNorm(dim);
    this.layerScale1 = scale();
    this.layerScale2 = scale();
    if (config.cross_attention) {
      this.crossAttention = new MultiheadAttention(config, { cross: true, depth, init });
      this.normCross = new LayerNorm(dim);
      this.layerScaleCross = scale();
    }
    this.config = config;
  }

  protected override stateNames(): Record<string, string> {
    return {
      layerScale1: "layer_scale_1",
      layerScale2: "layer_scale_2",
      layerScaleCross: "layer_scale_cross",
    };
  }

  /** x [B, S, D] -> [B, S, D]; in the backward pass, what `checkpointing` says is computed again. */
  forward(x: Tensor, pass: Pass): Tensor {
    // Generation asks for keys and values and takes no gradients: there is nothing to recompute.
    const strategy = pass.kept ? "none" : this.config.checkpointing;
    if (strategy !== "torch") return this.layer(x, pass, strategy);
    const { cross, rotations } = pass;
    return recomputed(
      ([y, source], { crossBias, rotations }) => {
        const again = source ? { source, bias: crossBias } : null;
        return this.layer(y, { cross: again, rotations, kept: null }, "none");
      },
      cross ? [x, cross.source] : [x],
      { crossBias: cross?.bias ?? null, rotations },
      this.parameters(),
    );
  }

  /** x [B, 1, D] -> [B, 1, D]; see Transformer.step. */
  step(x: Tensor, { cache, place, cross }: StepPass): Tensor {
    return this.residual(x, {
      selfAttend: (z, norm) => this.selfAttn.step(normal(z, norm), cache, place),
      crossAttend: cross && ((z, norm) => this.crossAttention!.crossStep(normal(z, norm), cross, cross.bias)),
      feedForward: (z, norm) =>
        this.linear2.forward(this.activation.apply(this.linear1.forward(normal(z, norm)))),
    });
  }

  /**
   * The layer in parts that end with a product with weights. `xformers_mm` recomputes each part, which leaves the results
   * of these products; `xformers_default` keeps the insides of attention, too.
   */
  private layer(x: Tensor, { cross, rotations, kept }: Pass, strategy: string): Tensor {
    const { selfAttn, crossAttention, linear1, linear2 } = this;
    const part = strategy === "none" ? computed : recomputed;
    const attentionPart = strategy === "xformers_mm" ? recomputed : computed;
    return this.residual(x, {
      selfAttend: (y, norm) => {
        const packed = part(([z]) => selfAttn.project(normal(z, norm)), [y], null, [
          ...parametersOf(norm),
          ...selfAttn.projectionParameters,
        ]);
        if (kept) {
          const { keys, values } = selfAttn.heads(packed, rotations);
          kept.push({ keys, values });
        }
        return attentionPart(
          ([z], rotations) => selfAttn.attendToSelf(z, rotations),
          [packed],
          rotations,
          selfAttn.attentionParameters,
        );
      },
      crossAttend:
        cross &&
        ((y, norm) => {
          const attention = crossAttention!;
          const packed = part(([z]) => attention.projectQueries(normal(z, norm)), [y], null, [
            ...parametersOf(norm),
            ...attention.projectionParameters,
          ]);
          return attentionPart(
            ([z, source], bias) => attention.attendToSource(z, source, bias),
            [packed, attention.projectKeyValues(cross.source)],
            cross.bias,
            attention.attentionParameters,
          );
        }),
      feedForward: (y, norm) => {
        const hidden = part(([z]) => linear1.forward(normal(z, norm)), [y], null, [
          ...parametersOf(norm),
          ...linear1.parameters(),
        ]);
        return part(
          ([z]) => linear2.forward(dropout(this.activation.apply(z), this.config.dropout)),
          [hidden],
          null,
          linear2.parameters(),
        );
      },
    });
  }

  /** The blocks with their norms, dropouts and scales around them. Before a block that is given a norm, it is applied. */
  private residual(x: Tensor, { selfAttend, crossAttend, feedForward }: Blocks): Tensor {
    const add = (to: Tensor, block: Tensor, scale: LayerScale | null): Tensor => {
      const dropped = dropout(block, this.config.dropout);
      return tf.add(to, scale ? scale.forward(dropped) : dropped);
    };
    let y = x;
    if (this.config.norm_first) {
      y = add(y, selfAttend(y, this.norm1), this.layerScale1);
      if (crossAttend) y = add(y, crossAttend(y, this.normCross), this.layerScaleCross);
      return add(y, feedForward(y, this.norm2), this.layerScale2);
    }
    y = this.norm1.forward(add(y, selfAttend(y, null), this.layerScale1));
    // The original feeds the layer's input, not the running value, to post-norm cross-attention.
    if (crossAttend) y = this.normCross!.forward(add(y, crossAttend(x, null), this.layerScaleCross));
    return this.norm2.forward(add(y, feedForward(y, null), this.layerScale2));
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

type Block = (y: Tensor, norm: LayerNorm | null) => Tensor;

interface Blocks {
  selfAttend: Block;
  crossAttend: Block | null;
  feedForward: Block;
}

function normal(x: Tensor, norm: LayerNorm | null): Tensor {
  return norm ? norm.forward(x) : x;
}

function parametersOf(norm: LayerNorm | null): Parameter[] {
  return norm ? norm.parameters() : [];
}

/** What `recomputed` is without recomputation. */
function computed<C extends Constants>(f: Part<C>, inputs: Tensor[], constants: C): Tensor {
  return f(inputs, constants);
}
