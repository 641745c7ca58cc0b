/** The composed config of a model of AudioCraft's: what its own says about the model, over the defaults of this program. */
import { type ComposedConfig, composeTrainConfig } from "../../config/index.ts";
import { UserError } from "../../errors.ts";

type Section = Record<string, unknown>;

/** What describes the model and its conditions; how it was trained stays behind. */
const KEYS = [
  "sample_rate",
  "channels",
  "compression_model_checkpoint",
  "compression_model_n_q",
  "interleave_stereo_codebooks",
  "tokens",
  "transformer_lm",
  "codebooks_pattern",
  "classifier_free_guidance",
  "attribute_dropout",
  "fuser",
  "conditioners",
] as const;

/**
 * Published models are to be generated from: their melody is as long as the training's (`match_len_on_eval`), and nothing is
 * recomputed. Sampling defaults are AudioCraft's, whatever the training generated with.
 * @param at the file, and the codec beside it, or null
 * @throws UserError when the config is not one of a MusicGen
 */
export function audiocraftMusicGenConfig(
  config: ComposedConfig,
  at: { path: string; codec: string | null },
): ComposedConfig {
  const kind = config.has("lm_model") ? config.get("lm_model") : null;
  if (kind !== "transformer_lm") {
    throw new UserError(`${at.path}: its config is of lm_model=${kind}; transformer_lm is what MusicGen has`);
  }
  const values: Section = {};
  for (const key of KEYS) if (config.has(key)) values[key] = config.get(key);
  // older configs lack it
  values.channels ??= (values.interleave_stereo_codebooks as Section | undefined)?.use === true ? 2 : 1;
  if (at.codec !== null) values.compression_model_checkpoint = at.codec;
  const { q_modeling, ...transformer } = values.transformer_lm as Section;
  values.transformer_lm = { ...transformer, checkpointing: "none" };
  values.codebooks_pattern = patternOf(
    values.codebooks_pattern as Section | undefined,
    q_modeling,
    transformer,
  );
  values.conditioners = conditionersOf((values.conditioners ?? {}) as Section);
  if (config.has("dataset.segment_duration")) {
    values.dataset = { segment_duration: config.get("dataset.segment_duration") };
  }
  values.generate = { lm: { use_sampling: true, temp: 1, top_k: 250, top_p: 0 } };
  return composeTrainConfig(["solver=musicgen/musicgen_base_32khz", "conditioner=none"]).merged(values);
}

/** Before there were patterns, `q_modeling` of the transformer named the kind, with a delay of one per codebook. */
function patternOf(pattern: Section | undefined, legacy: unknown, transformer: Section): Section {
  if (pattern?.modeling != null) return pattern;
  const delays = Array.from({ length: transformer.n_q as number }, (_, k) => k);
  return { modeling: legacy ?? "delay", delay: { delays, flatten_first: 0, empty_initial: 0 } };
}

function conditionersOf(sections: Section): Section {
  const { args: _, ...conditioners } = sections; // options of the data set, in older configs
  const melody = conditioners.self_wav as Section | undefined;
  if (melody?.model !== "chroma_stem") return conditioners;
  const { cache_path: __, ...chroma } = melody.chroma_stem as Section;
  return { ...conditioners, self_wav: { ...melody, chroma_stem: { ...chroma, match_len_on_eval: true } } };
}
