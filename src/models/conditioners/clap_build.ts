/** The CLAP conditioner from its config section. */
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { resolveReference } from "../../xp/reference.ts";
import { loadClap } from "../clap/load.ts";
import type { ConditionerContext } from "./build.ts";
import { CLAPEmbeddingConditioner } from "./clap.ts";
import type { Options } from "./options.ts";

/** @throws UserError for wrong settings or missing files */
export async function buildClap(
  options: Options,
  context: ConditionerContext,
  init: InitializerStream,
): Promise<CLAPEmbeddingConditioner> {
  options.only([
    ...[
      "checkpoint",
      "model_arch",
      "enable_fusion",
      "sample_rate",
      "max_audio_length",
      "audio_stride",
      "dim",
    ],
    ...[
      "attribute",
      "normalize",
      "quantize",
      "n_q",
      "bins",
      "text_p",
      "batch_size",
      "autocast_dtype",
      "cache_path",
    ],
    ...["q_dropout", "decay", "kmeans_init", "kmeans_iters", "threshold_ema_dead_code"],
  ]);
  if (options.boolean("enable_fusion", false)) {
    throw new UserError(
      `${options.path}.enable_fusion=true is not built: use a checkpoint without fusion of long audio`,
    );
  }
  const attribute = options.string("attribute", context.name);
  if (attribute !== context.name) {
    throw new UserError(
      `${options.path}.attribute=${attribute} is not the conditioner's name, ${context.name}`,
    );
  }
  const checkpoint = options.string("checkpoint");
  const quantizer = options.boolean("quantize", true)
    ? {
        codebooks: options.size("n_q", 12),
        bins: options.size("bins", 1024),
        codebookDropout: options.boolean("q_dropout", false),
        decay: options.number("decay", 0.99),
        kmeansInit: options.boolean("kmeans_init", true),
        kmeansIterations: options.size("kmeans_iters", 10),
        deadThreshold: options.number("threshold_ema_dead_code", 2),
      }
    : null;
  const settings = {
    outputDim: context.outputDim,
    seed: context.seed,
    quantizer,
    textProbability: options.number("text_p", 0),
    autocastType: options.autocast("autocast_dtype"),
    checkpoint,
    maxAudioLength: options.number("max_audio_length", 10),
    audioStride: options.number("audio_stride", 1),
    normalize: options.boolean("normalize", true),
    batchSize: options.optionalSize("batch_size") ?? 1,
    cachePath: options.optionalString("cache_path"),
  };
  const path = checkpoint.startsWith("//reference/")
    ? resolveReference(checkpoint, { doraDir: "" })
    : checkpoint.replace(/^\/\/pretrained\//, "");
  const clap = await loadClap(path, options.string("model_arch", "HTSAT-base"));
  const found: [string, number, number][] = [
    ["dim", options.size("dim", clap.dim), clap.dim],
    ["sample_rate", options.size("sample_rate", 48000), clap.logMel.options.sampleRate],
  ];
  for (const [key, asked, has] of found) {
    if (asked === has) continue;
    clap.dispose();
    throw new UserError(`${options.path}.${key}=${asked}, but ${checkpoint} has ${has}`);
  }
  return new CLAPEmbeddingConditioner({ ...settings, clap }, init);
}
