/** Conditioners and fuser from the config's `conditioners` and `fuser`, with AudioCraft's keys. */
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import type { AutocastType } from "../../runtime/index.ts";
import { loadT5 } from "../t5/load.ts";
import type { Conditioner } from "./base.ts";
import { ConditionFuser, FUSE_METHODS, type FuserConfig } from "./fuser.ts";
import { LUTConditioner } from "./lut.ts";
import { ConditioningProvider } from "./provider.ts";
import { T5_DIMS, T5Conditioner } from "./t5.ts";

type Section = Record<string, unknown>;

/** The part of the composed config that is read here. */
export interface ConditioningConfig {
  /** By attribute: `{model: t5, t5: {name: t5-base, …}}`. */
  conditioners?: object | null;
  fuser?: object | null;
}

/**
 * Texts for cross-attention are padded to a multiple of this, so that jit traces a training step a few times and not once
 * per text length. Results don't change (see `padTokens`). Conditions that are summed, interpolated or prepended have
 * no mask to hide padding behind and keep their length.
 */
export const CROSS_LENGTH_MULTIPLE = 8;

/** Known models that come later; their inputs are not texts. */
const NOT_BUILT = ["chroma_stem", "style", "clap", "chords_emb", "drum_latents", "melody"];

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
  const fuser = new ConditionFuser(parseFuser(cfg.fuser ?? {}));
  for (const name of fuser.names) {
    if (!Object.hasOwn(sections, name)) {
      const known = Object.keys(sections).join(", ") || "none";
      throw new UserError(
        `fuser names the condition "${name}", which is not in conditioners (there: ${known})`,
      );
    }
  }
  const conditioners: Record<string, Conditioner> = {};
  for (const [name, section] of Object.entries(sections)) {
    const onlyCross = fuser.methodsOf(name).every((method) => method === "cross" || method === "ignore");
    const lengthMultiple = onlyCross ? CROSS_LENGTH_MULTIPLE : 1;
    conditioners[name] = await buildConditioner(name, section, { outputDim, lengthMultiple, seed }, init);
  }
  return { provider: new ConditioningProvider(conditioners), fuser };
}

interface Common {
  outputDim: number;
  lengthMultiple: number;
  seed: number;
}

async function buildConditioner(
  name: string,
  section: unknown,
  common: Common,
  init: InitializerStream,
): Promise<Conditioner> {
  const path = `conditioners.${name}`;
  const model = new Options(path, section).string("model");
  const options = new Options(`${path}.${model}`, (section as Section)[model] ?? {});
  if (model === "t5") return buildT5(options, common, init);
  if (model === "lut") return buildLUT(options, common, init);
  if (NOT_BUILT.includes(model)) {
    throw new UserError(`${path}.model=${model} is not built; t5 and lut are, for texts`);
  }
  throw new UserError(`${path}.model=${model} is unknown; known: t5, lut, ${NOT_BUILT.join(", ")}`);
}

async function buildT5(options: Options, common: Common, init: InitializerStream): Promise<Conditioner> {
  options.only(["name", "finetune", "word_dropout", "normalize_text", "autocast_dtype"]);
  options.mustBeFalse("finetune", "the T5 encoder stays as it was loaded");
  options.mustBeFalse("normalize_text", "texts go to T5 as they are");
  const name = options.string("name");
  const wordDropout = options.number("word_dropout", 0);
  const autocastType = parseAutocast(options);
  const { encoder, tokenizer } = await loadT5(name);
  const dim = T5_DIMS[name];
  if (dim !== undefined && dim !== encoder.config.dModel) {
    const found = encoder.config.dModel;
    throw new UserError(`${options.path}.name=${name}: its files hold a model of size ${found}, not ${dim}`);
  }
  return new T5Conditioner({ ...common, encoder, tokenizer, wordDropout, autocastType }, init);
}

function buildLUT(options: Options, common: Common, init: InitializerStream): Conditioner {
  options.only(["n_bins", "dim", "tokenizer", "pad_idx"]);
  const nBins = options.size("n_bins");
  const padIndex = options.number("pad_idx", 0);
  if (!Number.isInteger(padIndex) || padIndex < 0 || padIndex >= nBins) {
    throw new UserError(`${options.path}.pad_idx must be a bin, 0 to ${nBins - 1}, got ${padIndex}`);
  }
  const tokenizer = options.string("tokenizer");
  return new LUTConditioner({ ...common, nBins, dim: options.size("dim"), tokenizer, padIndex }, init);
}

function parseAutocast(options: Options): AutocastType | null {
  const dtype = options.string("autocast_dtype", "float32");
  if (dtype === "float32") return null;
  if (dtype === "bfloat16" || dtype === "float16") return dtype;
  throw new UserError(`${options.path}.autocast_dtype=${dtype}: use float32, bfloat16 or float16`);
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

/** Reads values of a config section; errors name the full key. */
class Options {
  readonly path: string;
  private readonly values: Section;

  constructor(path: string, section: unknown) {
    if (typeof section !== "object" || section === null || Array.isArray(section)) {
      throw new UserError(`${path} must be a section of keys, got ${JSON.stringify(section)}`);
    }
    this.path = path;
    this.values = section as Section;
  }

  only(known: readonly string[]): void {
    const unknown = Object.keys(this.values).find((key) => !known.includes(key));
    if (unknown === undefined) return;
    throw new UserError(`${this.path}.${unknown} is not an option here; the options are ${known.join(", ")}`);
  }

  mustBeFalse(key: string, instead: string): void {
    if (this.boolean(key, false)) throw new UserError(`${this.path}.${key}=true is not built: ${instead}`);
  }

  string(key: string, absent?: string): string {
    return this.read(key, absent, "a text", (value) => typeof value === "string");
  }

  number(key: string, absent?: number): number {
    return this.read(key, absent, "a number", (value) => typeof value === "number" && Number.isFinite(value));
  }

  /** A positive integer. */
  size(key: string): number {
    const isSize = (value: unknown) => Number.isInteger(value) && (value as number) > 0;
    return this.read<number>(key, undefined, "a positive integer", isSize);
  }

  boolean(key: string, absent: boolean): boolean {
    return this.read(key, absent, "true or false", (value) => typeof value === "boolean");
  }

  strings(key: string): string[] {
    const isStrings = (value: unknown) =>
      Array.isArray(value) && value.every((item) => typeof item === "string");
    return this.read<string[]>(key, [], "a list of names", isStrings);
  }

  private read<T>(
    key: string,
    absent: T | undefined,
    expected: string,
    fits: (value: unknown) => boolean,
  ): T {
    const value = this.values[key] ?? absent;
    if (fits(value)) return value as T;
    throw new UserError(`${this.path}.${key} must be ${expected}, got ${JSON.stringify(value) ?? "nothing"}`);
  }
}
