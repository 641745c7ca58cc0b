/** A trained model out of its files alone: the config inside says how to build it. */
import { embeddedName } from "../checkpoint/embedded.ts";
import { type ComposedConfig, composeTrainConfig } from "../config/index.ts";
import { asMusicGenConfig, type MusicGenConfig } from "../config/schema.ts";
import { buildCompressionModel, buildLM, trainedDuration } from "../models/builders.ts";
import type { MusicGenLM } from "../models/lm/lm.ts";
import { MusicGen } from "../models/musicgen.ts";
import { openPretrained } from "../models/pretrained/index.ts";
import { loadState, type WeightType } from "../nn/index.ts";
import { resolveDoraDir } from "../xp/folder.ts";
import { openTrained } from "./checkpoint.ts";
import { locateModel } from "./resolve.ts";

/** A language model that has been found, whatever program wrote it, and not yet loaded. */
export interface FoundModel {
  /** A run's signature, or what a published or shipped model is called. */
  signature: string;
  /** Where the weights are. */
  path: string;
  /** Epochs of training that are known of: 0 for published models. */
  epochs: number;
  /** Of the checkpoint; {} for published models. */
  metadata: Readonly<Record<string, string>>;
  config: ComposedConfig;
  /** Copies the (best) weights, tensor by tensor. @throws UserError that lists by name what does not fit */
  loadInto(lm: MusicGenLM): void;
  close(): void;
}

export interface LoadedMusicGen {
  musicgen: MusicGen;
  /** Also says how to generate: `generate.lm`, `classifier_free_guidance.inference_coef`, `dataset.segment_duration`. */
  cfg: MusicGenConfig;
  signature: string;
  epochs: number;
  path: string;
}

/**
 * Finds and opens a model. `name`: a checkpoint or the signature of a run; a Hugging Face folder or repository
 * ("facebook/musicgen-small", "//pretrained/facebook/musicgen-small", "small"); AudioCraft's `state_dict.bin`, `checkpoint.th`, or the
 * folder of one; `default`, the shipped model; null is the newest checkpoint, or else the shipped model.
 * @throws UserError when there is none, or its files are missing or damaged
 */
export async function openMusicGen(name: string | null, doraDir?: string): Promise<FoundModel> {
  const location = locateModel(name, doraDir ?? resolveDoraDir(composeTrainConfig([])));
  if (location.kind === "checkpoint") {
    const trained = openTrained(location.path);
    return {
      ...trained,
      signature: embeddedName(location.path) ?? trained.signature,
      path: location.path,
      loadInto: (lm) => loadState(lm, trained.weights),
    };
  }
  const pretrained = await openPretrained(location.name);
  return { ...pretrained, signature: pretrained.name, epochs: 0, metadata: {} };
}

/**
 * Builds codec and language model as the model's config says and loads its (best) weights. `name` as in `openMusicGen`; `weights` is
 * how the language model's matrices are kept.
 */
export async function loadMusicGen(
  name: string | null,
  doraDir?: string,
  weights: WeightType = "float32",
): Promise<LoadedMusicGen> {
  const found = await openMusicGen(name, doraDir);
  try {
    const cfg = asMusicGenConfig(found.config);
    const codec = await buildCompressionModel(cfg);
    const lm = await buildLM(cfg);
    lm.compress(weights);
    found.loadInto(lm);
    const musicgen = new MusicGen(lm, codec, trainedDuration(cfg));
    return { musicgen, cfg, signature: found.signature, epochs: found.epochs, path: found.path };
  } finally {
    found.close();
  }
}
