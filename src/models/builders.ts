/** From a composed config to models. Options that are not built are refused here, by name. */
import { configFromYaml } from "../config/index.ts";
import type { MusicGenConfig } from "../config/schema.ts";
import { UserError } from "../errors.ts";
import { InitializerStream } from "../nn/index.ts";
import { resolveDoraDir } from "../xp/folder.ts";
import { type CompressionModel, InterleaveStereoCompressionModel } from "./compression.ts";
import { buildConditioners } from "./conditioners/build.ts";
import { loadCompressionModel } from "./encodec/index.ts";
import { MusicGenLM } from "./lm/lm.ts";
import { buildPatternProvider } from "./lm/patterns.ts";

/** The language model with new weights, drawn from `cfg.seed`, and its conditioners. */
export async function buildLM(cfg: MusicGenConfig): Promise<MusicGenLM> {
  const options = cfg.transformer_lm;
  refuseUnbuilt(cfg);
  const init = new InitializerStream(cfg.seed ?? 0);
  const { provider, fuser } = await buildConditioners(cfg, options.dim, init);
  const patterns = buildPatternProvider(cfg.codebooks_pattern, options.n_q, options.q_modeling);
  const cross_attention = options.cross_attention || fuser.usesCross;
  return new MusicGenLM({ ...options, cross_attention }, { patterns, provider, fuser }, init);
}

/** The frozen codec that turns audio into the tokens of the language model, checked against what that expects. */
export async function buildCompressionModel(cfg: MusicGenConfig): Promise<CompressionModel> {
  const codec = await loadCompressionModel(cfg.compression_model_checkpoint, {
    sampleRate: cfg.sample_rate,
    doraDir: resolveDoraDir(configFromYaml("{}").merged({ dora: { dir: cfg.dora.dir } })),
  });
  if (cfg.compression_model_n_q !== null) codec.setNumCodebooks(cfg.compression_model_n_q);
  const { use: stereo, per_timestep: perTimestep } = cfg.interleave_stereo_codebooks;
  const model = stereo ? new InterleaveStereoCompressionModel(codec, perTimestep) : codec;
  const { n_q, card } = cfg.transformer_lm;
  const mismatches = [
    [model.sampleRate, cfg.sample_rate, "sample_rate"],
    [model.channels, cfg.channels, "channels"],
    [model.cardinality, card, "transformer_lm.card"],
    [model.numCodebooks, n_q, "transformer_lm.n_q"],
  ].filter(([has, wanted]) => has !== wanted);
  if (mismatches.length > 0) {
    const list = mismatches.map(([has, wanted, key]) => `${key}=${wanted}, but the codec has ${has}`);
    throw new UserError(
      `compression_model_checkpoint=${cfg.compression_model_checkpoint} does not fit: ${list.join("; ")}`,
    );
  }
  return model;
}

/** Seconds of the segments that the model is trained on: longer audio is generated in windows of this. */
export function trainedDuration(cfg: MusicGenConfig): number {
  return cfg.dataset.segment_duration ?? 30;
}

/** Options that exist in the config but not in the model. */
function refuseUnbuilt(cfg: MusicGenConfig): void {
  const unbuilt: [boolean, string][] = [
    [cfg.dtype !== "float32", `dtype=${cfg.dtype} (weights are float32; autocast computes in 16 bits)`],
    [cfg.fsdp.use, "fsdp.use=true"],
  ];
  const first = unbuilt.find(([used]) => used);
  if (first) throw new UserError(`${first[1]} is not built`);
}
