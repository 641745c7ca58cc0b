/**
 * The public API. Importing it loads no TensorFlow: that happens with the first `fromPretrained`, after the runtime is configured.
 */
import { UserError } from "./errors.ts";
import type { EncodecModel as LoadedEncodec } from "./models/encodec/index.ts";
import type { MusicGen as LoadedMusicGen } from "./models/musicgen.ts";
import { WEIGHT_TYPES, type WeightType } from "./nn/weight_types.ts";
import {
  checkedDevice,
  checkedJit,
  configureRuntime,
  type RuntimeOptions,
  runtimeOptions,
} from "./runtime/options.ts";

export { type AudioClip, type AudioInfo, AudioReadError } from "./data/audio/audio.ts";
export { type AudioForm, convertAudio } from "./data/audio/convert.ts";
export { type NormalizeOptions, normalizeAudio } from "./data/audio/normalize.ts";
export { audioInfo, type ReadOptions, readAudio } from "./data/audio/read.ts";
export { type AudioFormat, encodeAudio, type WriteAudioOptions, writeAudio } from "./data/audio/write.ts";
export { UserError } from "./errors.ts";
export type { EncodedBatch, EncodeOptions } from "./models/encodec/index.ts";
export type {
  AudioBatch,
  GenerateOptions,
  GenerationParams,
  StreamOptions,
} from "./models/musicgen/params.ts";
export type { AudioChunk, GeneratedAudio } from "./models/musicgen.ts";
export { configureRuntime, type RuntimeOptions, type WeightType };

/** Where and how models run; the same in the whole process. */
export type LoadOptions = Partial<Pick<RuntimeOptions, "device" | "jit">>;

export interface MusicGenLoadOptions extends LoadOptions {
  /** How the language model's matrices are kept: in fewer bits they take less memory and are read faster, and are less exact. */
  weights?: WeightType;
}

/** A language model and its codec: descriptions in, audio out. */
export type MusicGen = LoadedMusicGen;

export const MusicGen = {
  /**
   * Loads a model with all that it needs. `idOrPath`: a repository ("facebook/musicgen-small") from the hub cache or the hub; a
   * folder in that layout; a file of AudioCraft's; a checkpoint or the signature of a run of this program; null is its newest.
   * @throws UserError when it is none of these, is damaged, or does not fit
   */
  async fromPretrained(idOrPath: string | null, options: MusicGenLoadOptions = {}): Promise<MusicGen> {
    const { weights = "float32" } = options;
    if (!WEIGHT_TYPES.includes(weights))
      throw new UserError(`weights=${weights}: use ${WEIGHT_TYPES.join(", ")}`);
    prepare(options);
    const { loadMusicGen } = await import("./solvers/trained.ts");
    return (await loadMusicGen(idOrPath, undefined, weights)).musicgen;
  },
};

/** A neural codec: audio to discrete codes and back. */
export type EncodecModel = LoadedEncodec;

export const EncodecModel = {
  /**
   * Loads a codec. `idOrPath`: a repository ("facebook/encodec_32khz"), a folder in that layout, a file of AudioCraft's, a
   * signature ("//sig/…"), or "//embedded/encodec_tiny_16khz".
   * @throws UserError when it is none of these or is damaged
   */
  async fromPretrained(idOrPath: string, options: LoadOptions = {}): Promise<EncodecModel> {
    prepare(options);
    const encodec = await import("./models/encodec/index.ts");
    return encodec.EncodecModel.fromPretrained(idOrPath);
  },
};

/** Configures the runtime, as far as that is still possible. */
function prepare({ device, jit }: LoadOptions): void {
  if (jit !== undefined) {
    configureRuntime({ jit: checkedJit(jit) });
  }
  if (device === undefined || device === runtimeOptions().device) return;
  checkedDevice(device);
  try {
    configureRuntime({ device });
  } catch {
    throw new UserError(
      `device=${device} comes too late: this process has loaded TensorFlow for ${runtimeOptions().device}; give it with the first fromPretrained`,
    );
  }
}
