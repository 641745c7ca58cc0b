/** A MusicGen of Hugging Face's layout: the language model that its config describes, its text encoder and its codec. */
import { asMusicGenConfig, type MusicGenConfig } from "../config/index.ts";
import { ConditionFuser, type FuserConfig } from "../models/conditioners/fuser.ts";
import type { ConditioningProvider } from "../models/conditioners/provider.ts";
import { MusicGenLM } from "../models/lm/lm.ts";
import { buildPatternProvider } from "../models/lm/patterns.ts";
import { hfMusicGenConfig } from "../models/pretrained/hf_config.ts";
import { InitializerStream } from "../nn/index.ts";
import type { Json } from "./folder.ts";

/** Our config of a parsed config.json and generation_config.json. */
export function hfConfig(config: Json, generation: Json, path: string): MusicGenConfig {
  return asMusicGenConfig(hfMusicGenConfig(config, generation, { repository: path, path }));
}

/** The language model of such a config, with conditioners of the caller's. */
export function hfLanguageModel(cfg: MusicGenConfig, provider: ConditioningProvider): MusicGenLM {
  const options = cfg.transformer_lm;
  const fuser = new ConditionFuser(cfg.fuser as FuserConfig, {
    maskPadding: options.cross_attention_mask === true,
  });
  const patterns = buildPatternProvider(cfg.codebooks_pattern, options.n_q);
  const cross_attention = options.cross_attention || fuser.usesCross;
  const config = { ...options, cross_attention };
  return new MusicGenLM(config, { patterns, provider, fuser }, new InitializerStream(0));
}
