/** A language model as Hugging Face's class has it, of the sizes that a list of tensors shows, without weights yet. */
import { ConditionFuser } from "../models/conditioners/fuser.ts";
import { ConditioningProvider } from "../models/conditioners/provider.ts";
import { type LMConfig, MusicGenLM } from "../models/lm/lm.ts";
import { buildPatternProvider } from "../models/lm/patterns.ts";
import { InitializerStream } from "../nn/index.ts";
import { classDefaults } from "./lm_config.ts";
import type { NamedShape } from "./shapes.ts";

/** What the original's musicgen_lm.yaml says, which is all that Hugging Face's class can do. */
const musicgenFlags = {
  norm_first: true,
  bias_proj: false,
  bias_ff: false,
  bias_attn: false,
  causal: true,
  activation: "gelu",
  cross_attention: true,
  memory_efficient: true,
};

/** `tensors` with AudioCraft's names, or Hugging Face's of the decoder alone. The heads cannot be seen in them. */
export function hfLM(
  tensors: readonly NamedShape[],
  heads: number,
  provider = new ConditioningProvider({}),
): MusicGenLM {
  const shapes = new Map(tensors.map(([name, shape]) => [name, shape]));
  const shape = (...names: string[]) => names.flatMap((name) => shapes.get(name) ?? []);
  const count = (pattern: RegExp) => tensors.filter(([name]) => pattern.test(name)).length;
  const [bins, dim] = shape("emb.0.weight", "model.decoder.embed_tokens.0.weight");
  const [hidden] = shape("transformer.layers.0.linear1.weight", "model.decoder.layers.0.fc1.weight");
  const nQ = count(/^(emb|model\.decoder\.embed_tokens)\.\d+\.weight$/);
  const config = {
    ...classDefaults,
    ...musicgenFlags,
    n_q: nQ,
    card: bins - 1,
    dim,
    num_heads: heads,
    num_layers: count(/layers\.\d+\.(linear1|fc1)\.weight$/),
    hidden_scale: hidden / dim,
  };
  const patterns = buildPatternProvider({ modeling: "delay" }, nQ);
  const fuser = new ConditionFuser({ cross: ["description"] });
  return new MusicGenLM(config as LMConfig, { patterns, provider, fuser }, new InitializerStream(0));
}
