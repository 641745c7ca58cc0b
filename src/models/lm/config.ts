/** The options of `transformer_lm`, with AudioCraft's keys, and what has to fit together in them. */
import { UserError } from "../../errors.ts";

export interface TransformerConfig {
  dim: number;
  num_heads: number;
  num_layers: number;
  /** Width of the feed-forward layers, in units of dim. */
  hidden_scale: number;
  dropout: number;
  /** Dropout of the attention weights; null: as `dropout`. */
  attention_dropout: number | null;
  activation: string;
  norm: string;
  norm_first: boolean;
  bias_ff: boolean;
  bias_attn: boolean;
  causal: boolean;
  /** How many steps before its own each step attends to; null: all. */
  past_context: number | null;
  /** These two choose implementations in the original. Here they only decide the names of the attention's weights. */
  custom: boolean;
  memory_efficient: boolean;
  attention_as_float32: boolean;
  layer_scale: number | null;
  positional_embedding: string;
  xpos: boolean;
  positional_scale?: number;
  max_period?: number;
  checkpointing: string;
  cross_attention: boolean;
  qk_layer_norm: boolean;
  qk_layer_norm_cross: boolean;
  /** Query heads per key and value head. */
  kv_repeat: number;
  weight_init: string | null;
  depthwise_init: string | null;
  zero_bias_init: boolean;
  /** Rates of the transformer's parameters; absent or null: those of the optimizer. */
  lr?: number | null;
  weight_decay?: number | null;
}

export interface LMConfig extends TransformerConfig {
  n_q: number;
  card: number;
  bias_proj: boolean;
  /** Learning rate of the embeddings; null: the optimizer's. */
  emb_lr: number | null;
}

/** Throws a UserError that names the first options that do not fit together. */
export function checkTransformerConfig(config: TransformerConfig): void {
  const { dim, num_heads: heads, kv_repeat: repeat, positional_embedding: positions } = config;
  const hidden = Math.trunc(config.hidden_scale * dim);
  const rope = usesRope(config);
  const problems: [boolean, string][] = [
    [dim % heads !== 0, `dim=${dim} is not divisible by transformer_lm.num_heads=${heads}`],
    [dim % 2 !== 0, `dim=${dim} must be even`],
    [heads % repeat !== 0, `kv_repeat=${repeat} does not divide transformer_lm.num_heads=${heads}`],
    [
      !["sin", "rope", "sin_rope"].includes(positions),
      `positional_embedding=${positions} is unknown; use sin, rope or sin_rope`,
    ],
    [rope && (dim / heads) % 2 !== 0, `positional_embedding=${positions} needs an even dim / num_heads`],
    [
      config.past_context !== null && !config.causal,
      `past_context=${config.past_context} needs transformer_lm.causal=true`,
    ],
    [config.norm !== "layer_norm", `norm=${config.norm} is unknown; use layer_norm`],
    [
      !["none", "torch", "xformers_default", "xformers_mm"].includes(config.checkpointing),
      `checkpointing=${config.checkpointing} is unknown; use none, torch, xformers_default or xformers_mm`,
    ],
    [
      ![null, "gaussian", "uniform"].includes(config.weight_init),
      `weight_init=${config.weight_init} is unknown; use gaussian, uniform or null`,
    ],
    [
      config.weight_init === null && config.depthwise_init !== null,
      `depthwise_init=${config.depthwise_init} needs transformer_lm.weight_init`,
    ],
    [
      config.weight_init === null && config.zero_bias_init,
      "zero_bias_init=true needs transformer_lm.weight_init",
    ],
    [
      config.activation.endsWith("glu") && hidden % 2 !== 0,
      `activation=${config.activation} needs an even dim * hidden_scale, not ${hidden}`,
    ],
  ];
  const first = problems.find(([applies]) => applies);
  if (first) throw new UserError(`transformer_lm.${first[1]}`);
}

export function usesRope(config: TransformerConfig): boolean {
  return config.positional_embedding === "rope" || config.positional_embedding === "sin_rope";
}
