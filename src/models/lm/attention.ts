/** Multi-head attention with the packed projection [q | k | v] of the original checkpoints, for whole sequences and for single steps. */
import {
  type InitializerStream,
  LayerNorm,
  Linear,
  linearWith,
  Module,
  Parameter,
  type ProjectedAttentionOptions,
  projectedAttention,
  zeros,
} from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { type CachePlace, cachedAttention, type LayerCache, stepAttention } from "./cached_attention.ts";
import { type TransformerConfig, usesRope } from "./config.ts";
import { weightInit } from "./initialization.ts";
import { RotaryEmbedding, type RotatedHeads, type Rotations, rotate, rotateProjection } from "./rope.ts";

/** Keys and values of one attention, [B, Hkv, L, Dh] each. */
export interface KeyValues {
  keys: Tensor;
  values: Tensor;
}

/** What cross-attention looks at. */
export interface CrossSource {
  /** [B, L, D] */
  source: Tensor;
  /** [1, 1, 1, L] or [B, 1, 1, L]: 0 where attended, a very low score where not; null attends to all. */
  bias: Tensor | null;
}

export class MultiheadAttention extends Module {
  readonly inProjWeight: Parameter;
  readonly inProjBias: Parameter | null;
  readonly outProj: Linear;
  readonly qLayerNorm: LayerNorm | null;
  readonly kLayerNorm: LayerNorm | null;
  /** Only for its names: the original's state dicts repeat the frequencies in every layer. */
  readonly rope: RotaryEmbedding | null;
  private readonly dim: number;
  private readonly headDim: number;
  private readonly kvDim: number;
  private readonly kvRepeat: number;
  private readonly options: ProjectedAttentionOptions & RotatedHeads;
  private readonly names: Record<string, string>;

  constructor(
    config: TransformerConfig,
    options: { cross: boolean; depth: number | null; init: InitializerStream },
  ) {
    super();
    const { dim, num_heads: heads } = config;
    const { cross, depth, init } = options;
    const qkNorm = cross ? config.qk_layer_norm_cross : config.qk_layer_norm;
    this.dim = dim;
    this.headDim = dim / heads;
    this.kvRepeat = cross ? 1 : config.kv_repeat;
    this.kvDim = dim / this.kvRepeat;
    const packed = dim + 2 * this.kvDim;
    const torch = usesTorchAttention(config);
    // The original re-initialises out_proj only: the rest stays at PyTorch's defaults, with biases of zero.
    const bound = torch ? Math.sqrt(6 / (packed + dim)) : 1 / Math.sqrt(dim);
    this.inProjWeight = new Parameter([packed, dim], init.uniform(bound));
    this.inProjBias = config.bias_attn ? new Parameter([packed], zeros) : null;
    const { weight } = weightInit(config, init)(dim, depth);
    this.outProj = new Linear(dim, dim, init, { bias: config.bias_attn, weight, biasInit: zeros });
    this.qLayerNorm = qkNorm ? new LayerNorm(dim) : null;
    this.kLayerNorm = qkNorm ? new LayerNorm(this.kvDim) : null;
    this.rope = !cross && usesRope(config) ? ropeOf(config) : null;
    this.options = {
      heads,
      kvHeads: heads / this.kvRepeat,
      causal: !cross && config.causal,
      pastContext: cross ? null : config.past_context,
      dropout: config.attention_dropout ?? config.dropout,
      asFloat32: config.attention_as_float32,
    };
    this.names = torch
      ? { inProjWeight: "mha.in_proj_weight", inProjBias: "mha.in_proj_bias", outProj: "mha.out_proj" }
      : {};
  }

  protected override stateNames(): Record<string, string> {
    return this.names;
  }

  /** What the `project…` methods use. */
  get projectionParameters(): Parameter[] {
    return this.inProjBias ? [this.inProjWeight, this.inProjBias] : [this.inProjWeight];
  }

  /** What all else uses. */
  get attentionParameters(): Parameter[] {
    return [this.qLayerNorm, this.kLayerNorm, this.outProj].flatMap((part) => part?.parameters() ?? []);
  }

  /** x [B, S, D] -> its queries, keys and values side by side [B, S, D + 2 Dkv], for self-attention. */
  project(x: Tensor): Tensor {
    return linearWith(x, this.inProjWeight, this.inProjBias);
  }

  /** What `project` gives -> self-attention's output [B, S, D]. */
  attendToSelf(packed: Tensor, rotations: Rotations | null): Tensor {
    return this.outProj.forward(projectedAttention(this.prepared(packed, rotations), this.options));
  }

  /** What `projectQueries` and `projectKeyValues` give -> cross-attention's output [B, S, D]. */
  attendToSource(queries: Tensor, keyValues: Tensor, mask: Tensor | null): Tensor {
    let projections = [queries, keyValues];
    if (this.qLayerNorm && this.kLayerNorm) {
      const [k, v] = tf.split(keyValues, 2, -1);
      projections = [this.qLayerNorm.forward(queries), this.kLayerNorm.forward(k), v];
    }
    return this.outProj.forward(projectedAttention(projections, { ...this.options, mask }));
  }

  /** What `project` gives -> queries [B, H, S, Dh] and keys and values [B, Hkv, S, Dh], normalized and rotated. */
  heads(packed: Tensor, rotations: Rotations | null): { queries: Tensor } & KeyValues {
    const [q, kv] = tf.split(packed, [this.dim, 2 * this.kvDim], -1);
    const queries = this.queries(q);
    const { keys, values } = this.keyValues(kv);
    if (rotations === null) return { queries, keys, values };
    return { queries: rotate(queries, rotations.queries), keys: rotate(keys, rotations.keys), values };
  }

  /** x [B, S, D] -> what `queries` takes, for cross-attention. */
  projectQueries(x: Tensor): Tensor {
    return this.projection(x, 0, this.dim);
  }

  /** [B, S, D] -> [B, H, S, Dh] */
  queries(projected: Tensor): Tensor {
    return this.split(this.qLayerNorm ? this.qLayerNorm.forward(projected) : projected);
  }

  /** A source [B, L, D] -> what `keyValues` takes, for cross-attention. */
  projectKeyValues(source: Tensor): Tensor {
    return this.projection(source, this.dim, 2 * this.kvDim);
  }

  /** [B, L, 2 Dkv] -> [B, Hkv, L, Dh] each */
  keyValues(projected: Tensor): KeyValues {
    const [k, v] = tf.split(projected, 2, -1);
    return { keys: this.split(this.kLayerNorm ? this.kLayerNorm.forward(k) : k), values: this.split(v) };
  }

  /** One step x [B, 1, D] of self-attention, to itself and what the cache holds; goes into the cache. -> [B, 1, D] */
  step(x: Tensor, cache: LayerCache, place: CachePlace): Tensor {
    return this.outProj.forward(cachedAttention(this.normalized(this.project(x)), cache, place));
  }

  /** One step x [B, 1, D] of cross-attention -> [B, 1, D] */
  crossStep(x: Tensor, keyValues: KeyValues, bias: Tensor | null): Tensor {
    const projected = this.projectQueries(x);
    const queries = this.qLayerNorm ? this.qLayerNorm.forward(projected) : projected;
    return this.outProj.forward(stepAttention(queries, keyValues, bias));
  }

  /** Queries, keys and values side by side, those that have norms normalized. */
  private normalized(packed: Tensor): Tensor {
    if (!this.qLayerNorm || !this.kLayerNorm) return packed;
    const [q, k, v] = tf.split(packed, [this.dim, this.kvDim, this.kvDim], -1);
    return tf.concat([this.qLayerNorm.forward(q), this.kLayerNorm.forward(k), v], -1);
  }

  /** Projections of queries, keys and values, normalized and rotated: in one tensor as they were, or in three. */
  private prepared(packed: Tensor, rotations: Rotations | null): Tensor[] {
    const { options, qLayerNorm, kLayerNorm } = this;
    if (!qLayerNorm || !kLayerNorm)
      return [rotations ? rotateProjection(packed, rotations, options) : packed];
    const [q, k, v] = tf.split(packed, [this.dim, this.kvDim, this.kvDim], -1);
    const normalized = [qLayerNorm.forward(q), kLayerNorm.forward(k)];
    if (rotations === null) return [...normalized, v];
    const [queries, keys] = normalized.map((x, i) =>
      i === 0
        ? rotateProjection(x, rotations, { heads: options.heads, kvHeads: 0 })
        : rotateProjection(x, rotations, { heads: 0, kvHeads: options.kvHeads }),
    );
    return [queries, keys, v];
  }

  /** x through rows `from` to `from + rows` of the packed projection. */
  private projection(x: Tensor, from: number, rows: number): Tensor {
    return linearWith(x, this.inProjWeight, this.inProjBias, from, rows);
  }

  /** [B, L, N Dh] -> [B, N, L, Dh] */
  private split(x: Tensor): Tensor {
    const [batch, length, width] = x.shape as [number, number, number];
    return tf.transpose(x.reshape([batch, length, width / this.headDim, this.headDim]), [0, 2, 1, 3]);
  }
}

/** The table of rotations of a model's heads. */
export function ropeOf(config: TransformerConfig): RotaryEmbedding {
  return new RotaryEmbedding(config.dim / config.num_heads, {
    maxPeriod: config.max_period ?? 10000,
    xpos: config.xpos,
    scale: config.positional_scale ?? 1,
  });
}

/** Whether the original would use PyTorch's own attention module, whose weights have an `mha.` before their names. */
function usesTorchAttention(config: TransformerConfig): boolean {
  const needsCustom =
    usesRope(config) || config.kv_repeat > 1 || config.qk_layer_norm || config.qk_layer_norm_cross;
  return !config.custom && !config.memory_efficient && !needsCustom;
}
