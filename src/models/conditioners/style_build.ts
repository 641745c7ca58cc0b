/** The style conditioner from its config section. */
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { loadCompressionModel } from "../encodec/index.ts";
import { loadMert, MERT_REPOSITORY } from "../mert/load.ts";
import type { ConditionerContext } from "./build.ts";
import type { Options } from "./options.ts";
import { STYLE_SCALES, StyleConditioner } from "./style.ts";
import { EncodecFeatures, MertFeatures, type StyleFeatures } from "./style_features.ts";

/** @throws UserError for wrong settings or missing files */
export async function buildStyle(
  options: Options,
  context: ConditionerContext,
  init: InitializerStream,
): Promise<StyleConditioner> {
  options.only([
    ...["model_name", "transformer_scale", "sample_rate", "encodec_checkpoint", "encodec_n_q", "length"],
    ...[
      "ds_factor",
      "n_q_out",
      "eval_q",
      "q_dropout",
      "bins",
      "varying_lengths",
      "batch_norm",
      "compute_mask",
    ],
    ...["num_codebooks_lm", "ds_rate_compression", "use_middle_of_segment", "rvq_threshold_ema_dead_code"],
    ...["mert_checkpoint"],
  ]);
  const scale = options.string("transformer_scale", "default");
  if (!Object.hasOwn(STYLE_SCALES, scale)) {
    const known = Object.keys(STYLE_SCALES).join(", ");
    throw new UserError(`${options.path}.transformer_scale=${scale} is unknown; use one of ${known}`);
  }
  const codebooks = options.number("n_q_out", 6);
  if (!Number.isInteger(codebooks) || codebooks < 0) {
    throw new UserError(
      `${options.path}.n_q_out=${codebooks} must be a number of codebooks, or 0 for no bottleneck`,
    );
  }
  const settings = {
    outputDim: context.outputDim,
    seed: context.seed,
    transformer: STYLE_SCALES[scale],
    length: options.number("length", 3),
    varyingLengths: readBounds(options, "varying_lengths"),
    useMiddle: options.boolean("use_middle_of_segment", false),
    dsFactor: options.size("ds_factor", 15),
    codebooks,
    evalCodebooks: options.size("eval_q", 3),
    codebookDropout: options.boolean("q_dropout", true),
    bins: options.size("bins", 1024),
    deadThreshold: options.number("rvq_threshold_ema_dead_code", 0.1),
    batchNorm: options.boolean("batch_norm", true),
    computeMask: options.boolean("compute_mask", true),
    samplesPerFrame: options.size("ds_rate_compression", 640),
  };
  if (!(settings.length > 0))
    throw new UserError(`${options.path}.length=${settings.length} must be positive`);
  const features = await loadFeatures(options);
  return new StyleConditioner({ ...settings, features }, init);
}

async function loadFeatures(options: Options): Promise<StyleFeatures> {
  const model = options.string("model_name", "encodec");
  if (model === "mert") {
    return new MertFeatures(await loadMert(options.string("mert_checkpoint", MERT_REPOSITORY)));
  }
  if (model !== "encodec") {
    throw new UserError(`${options.path}.model_name=${model} is unknown; use mert or encodec`);
  }
  const checkpoint = options.string("encodec_checkpoint", "//pretrained/facebook/encodec_32khz");
  const sampleRate = options.size("sample_rate", 32000);
  return new EncodecFeatures(
    await loadCompressionModel(checkpoint, { sampleRate }),
    options.size("encodec_n_q", 4),
  );
}

/** Two ascending numbers, or null for none. */
function readBounds(options: Options, key: string): [number, number] | null {
  const bounds = options.numbers(key);
  if (bounds.length === 0) return null;
  const [low, high] = bounds;
  if (bounds.length === 2 && low > 0 && low <= high) return [low, high];
  throw new UserError(
    `${options.path}.${key}=[${bounds}] must be two numbers of seconds, the shorter one first`,
  );
}
