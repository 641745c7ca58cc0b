/** Conditioners and fuser from the config's `conditioners` and `fuser`, with AudioCraft's keys. */
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { loadT5 } from "../t5/load.ts";
import type { Conditioner } from "./base.ts";
import { buildChromaStem } from "./chroma_build.ts";
import { buildClap } from "./clap_build.ts";
import { ConditionFuser, FUSE_METHODS, type FuserConfig } from "./fuser.ts";
import { LUTConditioner } from "./lut.ts";
import { Options, type Section } from "./options.ts";
import { ConditioningProvider } from "./provider.ts";
import { buildStyle } from "./style_build.ts";
import { T5_DIMS, T5Conditioner, t5HubName } from "./t5.ts";

/** The part of the composed config that is read here. */
export interface ConditioningConfig {
  /** By attribute: `{model: t5, t5: {name: t5-base, …}}`. */
  conditioners?: object | null;
  fuser?: object | null;
  /** `segment_duration`: what the model is trained on. */
  dataset?: object | null;
  /** `cross_attention_mask`: cross-attention does not see padding (as in transformers, not as in AudioCraft). */
  transformer_lm?: object | null;
}

/** What conditioners are built from besides their own settings. */
export interface ConditionerContext {
  /** Name of the attribute. */
  name: string;
  outputDim: number;
  lengthMultiple: number;
  /** Seed of the random draws that conditioners make in training. */
  seed: number;
  /** Seconds; null: whole files. */
  segmentDuration: number | null;
}

type Builder = (
  options: Options,
  context: ConditionerContext,
  init: InitializerStream,
) => Conditioner | Promise<Conditioner>;

/** By the value of `model`; the settings stand under the same name. */
const BUILDERS: Readonly<Record<string, Builder>> = {
  t5: buildT5,
  lut: buildLUT,
  chroma_stem: buildChromaStem,
  style: buildStyle,
  clap: buildClap,
};

/**
 * Texts for cross-attention are padded to this length, or two, four, … times it, so that jit traces a training step a few times and not once
 * per text length. Results don't change (see `padTokens`). Conditions that are summed, interpolated or prepended have
 * no mask to hide padding behind and keep their length.
 */
export const CROSS_LENGTH_MULTIPLE = 16;

/** Known models that come later. */
const NOT_BUILT = ["chords_emb", "drum_latents", "melody"];

/**
 * Builds what `cfg` asks for; a T5 is loaded from the hub cache or the hub.
 * @param outputDim size of the model's vectors; @param seed of the random draws that conditioners make in training
 * @throws UserError for unknown or unbuilt models and options, or missing files
 */
export async function buildConditioners(
  cfg: ConditioningConfig,
  outputDim: number,
  init: InitializerStream,
  seed = 1234,
): Promise<{ provider: ConditioningProvider; fuser: ConditionFuser }> {
  const { args, ...sections } = (cfg.conditioners ?? {}) as Section;
  // both belong to the data set, and older configs have them here
  if (args) new Options("conditioners.args", args).only(["merge_text_conditions_p", "drop_desc_p"]);
  const maskPadding = (cfg.transformer_lm as Section | undefined)?.cross_attention_mask === true;
  const fuser = new ConditionFuser(parseFuser(cfg.fuser ?? {}), { maskPadding });
  for (const name of fuser.names) {
    if (!Object.hasOwn(sections, name)) {
      const known = Object.keys(sections).join(", ") || "none";
      throw new UserError(
        `fuser names the condition "${name}", which is not in conditioners (there: ${known})`,
      );
    }
  }
  const segmentDuration = ((cfg.dataset as Section | undefined)?.segment_duration ?? null) as number | null;
  const conditioners: Record<string, Conditioner> = {};
  for (const [name, section] of Object.entries(sections)) {
    const onlyCross = fuser.methodsOf(name).every((method) => method === "cross" || method === "ignore");
    const lengthMultiple = onlyCross ? CROSS_LENGTH_MULTIPLE : 1;
    const context = { name, outputDim, lengthMultiple, seed, segmentDuration };
    conditioners[name] = await buildConditioner(section, context, init);
  }
  return { provider: new ConditioningProvider(conditioners), fuser };
}

async function buildConditioner(
  section: unknown,
  context: ConditionerContext,
  init: InitializerStream,
): Promise<Conditioner> {
  const path = `conditioners.${context.name}`;
  const model = new Options(path, section).string("model");
  const options = new Options(`${path}.${model}`, (section as Section)[model] ?? {});
  if (Object.hasOwn(BUILDERS, model)) return BUILDERS[model](options, context, init);
  const built = Object.keys(BUILDERS).join(", ");
  if (NOT_BUILT.includes(model))
    throw new UserError(`${path}.model=${model} is not built; built are: ${built}`);
  throw new UserError(`${path}.model=${model} is unknown; known: ${built}, ${NOT_BUILT.join(", ")}`);
}

async function buildT5(
  options: Options,
  context: ConditionerContext,
  init: InitializerStream,
): Promise<Conditioner> {
  options.only(["name", "finetune", "word_dropout", "normalize_text", "autocast_dtype"]);
  const name = options.string("name");
  const settings = {
    ...context,
    finetune: options.boolean("finetune", false),
    wordDropout: options.number("word_dropout", 0),
    normalizeText: options.boolean("normalize_text", false),
    autocastType: options.autocast("autocast_dtype"),
  };
  const { encoder, tokenizer } = await loadT5(t5HubName(name));
  const dim = T5_DIMS[t5HubName(name)];
  if (dim !== undefined && dim !== encoder.config.dModel) {
    const found = encoder.config.dModel;
    throw new UserError(`${options.path}.name=${name}: its files hold a model of size ${found}, not ${dim}`);
  }
  return new T5Conditioner({ ...settings, encoder, tokenizer }, init);
}

function buildLUT(options: Options, context: ConditionerContext, init: InitializerStream): Conditioner {
  options.only(["n_bins", "dim", "tokenizer", "pad_idx"]);
  const nBins = options.size("n_bins");
  const padIndex = options.number("pad_idx", 0);
  if (!Number.isInteger(padIndex) || padIndex < 0 || padIndex >= nBins) {
    throw new UserError(`${options.path}.pad_idx must be a bin, 0 to ${nBins - 1}, got ${padIndex}`);
  }
  const tokenizer = options.string("tokenizer");
  return new LUTConditioner({ ...context, nBins, dim: options.size("dim"), tokenizer, padIndex }, init);
}

function parseFuser(section: object): FuserConfig {
  const options = new Options("fuser", section);
  options.only([...FUSE_METHODS, "cross_attention_pos_emb", "cross_attention_pos_emb_scale"]);
  return {
    ...Object.fromEntries(FUSE_METHODS.map((method) => [method, options.strings(method)])),
    cross_attention_pos_emb: options.boolean("cross_attention_pos_emb", false),
    cross_attention_pos_emb_scale: options.number("cross_attention_pos_emb_scale", 1),
  };
}
