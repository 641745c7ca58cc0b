/** Transformer language model over K parallel codebooks (MusicGen, arXiv 2306.05284). */
import {
  Embedding,
  gatherAlong,
  type InitializerStream,
  LayerNorm,
  Linear,
  Module,
  type Parameter,
  type WeightType,
} from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type { ConditionTensors } from "../conditioners/base.ts";
import type { ConditionFuser } from "../conditioners/fuser.ts";
import type { ConditioningProvider } from "../conditioners/provider.ts";
import type { LMConfig } from "./config.ts";
import { weightInit } from "./initialization.ts";
import type { Pattern } from "./pattern.ts";
import type { PatternProvider } from "./patterns.ts";
import { Transformer } from "./transformer.ts";

export type { LMConfig } from "./config.ts";

/** Parameters that share their learning rate and weight decay, where these are not the optimizer's own. */
export interface ParameterGroup {
  parameters: [string, Parameter][];
  lr?: number;
  weightDecay?: number;
}

export class MusicGenLM extends Module {
  readonly conditionProvider: ConditioningProvider;
  /** Per codebook: card tokens and the special one. */
  readonly emb: Embedding[];
  readonly transformer: Transformer;
  readonly outNorm: LayerNorm | null;
  readonly linears: Linear[];
  readonly config: LMConfig;
  readonly patterns: PatternProvider;
  readonly fuser: ConditionFuser;

  constructor(
    config: LMConfig,
    parts: { patterns: PatternProvider; provider: ConditioningProvider; fuser: ConditionFuser },
    init: InitializerStream,
  ) {
    super();
    const { dim, card, n_q: nQ } = config;
    const weights = weightInit(config, init);
    this.conditionProvider = parts.provider;
    this.emb = Array.from({ length: nQ }, () => {
      const { weight = init.standardNormal() } = weights(dim, null);
      return new Embedding(card + 1, dim, weight);
    });
    this.transformer = new Transformer(config, init);
    this.outNorm = config.norm_first ? new LayerNorm(dim) : null;
    this.linears = Array.from(
      { length: nQ },
      () => new Linear(dim, card, init, { bias: config.bias_proj, ...weights(dim, null) }),
    );
    this.config = config;
    this.patterns = parts.patterns;
    this.fuser = parts.fuser;
  }

  /** The token that stands where the pattern has no code: the beginning of the sequence, and the delayed ends. */
  get specialToken(): number {
    return this.config.card;
  }

  /**
   * Keeps the matrices of the transformer and the heads in fewer bits, for generation; embeddings, norms, biases and conditioners
   * stay as they are. Before weights are loaded it saves the memory for them, too.
   */
  compress(type: WeightType): void {
    const matrices = [this.transformer, ...this.linears]
      .flatMap((part) => part.parameters())
      .filter(({ shape }) => shape.length === 2);
    for (const matrix of matrices) matrix.compress(type);
  }

  /** Frees the weights, and the frozen models of the conditioners. */
  override dispose(): void {
    this.conditionProvider.dispose();
    super.dispose();
  }

  /** The parameters in AudioCraft's groups: all others, each codebook's embeddings, the transformer. */
  parameterGroups(): ParameterGroup[] {
    const { emb_lr: embLr, lr, weight_decay: weightDecay } = this.config;
    const of = (part: Module, prefix: string) =>
      part.namedParameters(prefix).filter(([, parameter]) => parameter.trainable);
    const embeddings = this.emb.map((table, k) => ({
      parameters: of(table, `emb.${k}.`),
      ...(embLr === null ? {} : { lr: embLr }),
    }));
    const transformer = {
      parameters: of(this.transformer, "transformer."),
      ...(lr == null ? {} : { lr }),
      ...(weightDecay == null ? {} : { weightDecay }),
    };
    const own = new Set(
      [...embeddings, transformer].flatMap(({ parameters }) => parameters.map(([name]) => name)),
    );
    const others = of(this, "").filter(([name]) => !own.has(name));
    return [{ parameters: others }, ...embeddings, transformer];
  }

  /** sequence int32 [B, K, S], conditions -> logits [B, K, S, card] */
  forward(sequence: Tensor, conditions: Record<string, ConditionTensors>): Tensor {
    return this.heads(this.hidden(sequence, conditions));
  }

  /** sequence int32 [B, K, S], conditions -> what the heads take [B, S, D] */
  private hidden(sequence: Tensor, conditions: Record<string, ConditionTensors>): Tensor {
    const { input, cross, prefixLength } = this.fuser.fuse(this.embed(sequence), conditions);
    const hidden = this.transformer.forward(input, cross);
    return prefixLength > 0 ? dropPrefix(hidden, prefixLength) : hidden;
  }

  /**
   * What the loss needs, for whole codes int32 [B, K, T]: logits at the S valid steps of the pattern, and for each the
   * code that it predicts. logits [B, S, card] of each codebook, targets int32 [B, K, S], mask [K, S] (1 where there is a code).
   */
  predictions(codes: Tensor, conditions: Record<string, ConditionTensors>) {
    const [, , timesteps] = codes.shape as [number, number, number];
    const pattern = this.patterns.getPattern(timesteps);
    const logits = this.codebookLogits(this.hidden(this.sequence(codes, pattern), conditions));
    const { mask } = targetIndexes(pattern);
    const shape: [number, number] = [this.config.n_q, logits[0].shape[1]!];
    return { logits, targets: this.alongSteps(codes), mask: tf.tensor2d(mask, shape) as Tensor };
  }

  /** What belongs to the code that each valid step predicts: x [B, K, T] -> [B, K, S]; arbitrary where the mask is 0. */
  alongSteps(x: Tensor): Tensor {
    const pattern = this.patterns.getPattern(x.shape[2]!);
    return gatherAlong(x, targetIndexes(pattern).indexes, pattern.length(true));
  }

  /**
   * Logits in the codes' own order, as the original returns them: logits [B, K, T, card] and mask uint8 [K, T] of the cells
   * that a valid step predicts. Without gradient.
   */
  computePredictions(codes: Tensor, conditions: Record<string, ConditionTensors>) {
    const [, , timesteps] = codes.shape as [number, number, number];
    const pattern = this.patterns.getPattern(timesteps);
    const logits = this.forward(this.sequence(codes, pattern), conditions);
    const { indexes, mask } = pattern.revertLogitsIndexes(true);
    return { logits: gatherAlong(logits, indexes, timesteps), mask };
  }

  /** codes int32 [B, K, T] -> the pattern's valid steps int32 [B, K, S] */
  sequence(codes: Tensor, pattern: Pattern): Tensor {
    const { indexes, mask, length } = pattern.sequenceIndexes(true);
    const gathered = gatherAlong(codes, indexes, length);
    const shape: [number, number, number] = [1, this.config.n_q, length];
    const filled = tf.tensor3d(Int32Array.from(mask), shape, "int32");
    const special = tf.tensor3d(
      Int32Array.from(mask, (m) => (m ? 0 : this.specialToken)),
      shape,
      "int32",
    );
    return tf.add(tf.mul(gathered, filled), special);
  }

  /** int32 [B, K, S] -> [B, S, D]: the sum of the codebooks' embeddings. */
  embed(sequence: Tensor): Tensor {
    const codebooks = tf.unstack(sequence, 1);
    return tf.addN(this.emb.map((table, k) => table.forward(codebooks[k]) as never)) as Tensor;
  }

  /** hidden [B, S, D] -> logits [B, K, S, card] */
  heads(hidden: Tensor): Tensor {
    return tf.stack(this.codebookLogits(hidden) as never[], 1) as Tensor;
  }

  /** hidden [B, S, D] -> logits of each codebook [B, S, card] */
  private codebookLogits(hidden: Tensor): Tensor[] {
    const normal = this.outNorm ? this.outNorm.forward(hidden) : hidden;
    return this.linears.map((head) => head.forward(normal));
  }
}

function dropPrefix(hidden: Tensor, prefix: number): Tensor {
  const [batch, length, dim] = hidden.shape as [number, number, number];
  return tf.slice(hidden, [0, prefix, 0], [batch, length - prefix, dim]);
}

/** For each codebook and valid step, the timestep that the step's logits predict: revertLogitsIndexes the other way round. */
function targetIndexes(pattern: Pattern): { indexes: Int32Array; mask: Float32Array } {
  const steps = pattern.length(true);
  const revert = pattern.revertLogitsIndexes(true);
  const indexes = new Int32Array(pattern.nQ * steps);
  const mask = new Float32Array(pattern.nQ * steps);
  for (let q = 0; q < pattern.nQ; q++) {
    for (let t = 0; t < pattern.timesteps; t++) {
      const cell = q * pattern.timesteps + t;
      if (!revert.mask[cell]) continue;
      const target = q * steps + revert.indexes[cell];
      indexes[target] = t;
      mask[target] = 1;
    }
  }
  return { indexes, mask };
}
