/** What a generation can be asked for: the parameters, their defaults and limits. */
import { UserError } from "../../errors.ts";
import type { SamplingOptions } from "../lm/sampling.ts";

/** How audio is generated. `MusicGen.setGenerationParams` sets these for all calls, each call may change them for itself. */
export interface GenerationParams {
  /** False takes the most likely token at every step. Default true. */
  useSampling: boolean;
  /** Above 1 flattens the distribution that tokens are drawn from, below 1 sharpens it. Default 1. */
  temperature: number;
  /** Draw from the k most likely tokens; 0: from all. Default 250. */
  topK: number;
  /** Draw from the most likely tokens that make up this probability; above 0 it takes the place of `topK`. Default 0. */
  topP: number;
  /** Seconds of audio, prompt included. Default 15, or the trained duration where that is shorter. */
  duration: number;
  /** Classifier-free guidance; 1 is none. Default 3. */
  cfgCoef: number;
  /**
   * Double guidance, for models with text and audio conditions: how far the text pulls away from the audio condition alone
   * (arXiv 2407.12563). Default null: single guidance.
   */
  cfgCoefBeta: number | null;
  /** Run conditional and unconditional rows apart, padded as in training. Default false. */
  twoStepCfg: boolean;
  /**
   * Beyond the trained duration, each new window goes on so many seconds and has the rest of the one before as its prompt.
   * Default null: 18 of 30 s, and the same part of other durations.
   */
  extendStride: number | null;
}

/** Clips of a batch: planar samples per clip, and their rate. */
export interface AudioBatch<Clip = Float32Array[]> {
  audio: readonly Clip[];
  sampleRate: number;
}

export interface GenerateOptions extends Partial<GenerationParams> {
  /**
   * The same call with the same seed gives the same audio. A number is that of the first row, and each further row counts one
   * up; or one seed per row. What is drawn for a row depends on its seed alone. Default 0.
   */
  seed?: number | readonly number[];
  /** Audio to continue, one clip per description, all equally long; of any rate and channels. */
  prompt?: AudioBatch | null;
  /** Leave the prompt out of what is returned. Default false. */
  removePrompt?: boolean;
  /** A melody to follow per description, or null, for models that take melodies; of any rate and channels. */
  melody?: AudioBatch<Float32Array[] | null> | null;
  /** Ends the generation with the signal's reason as error. */
  signal?: AbortSignal;
  /** Called after every step with the frames done and their total. Throwing ends the generation. */
  onProgress?: (framesDone: number, framesTotal: number) => void;
}

export interface StreamOptions extends GenerateOptions {
  /** Seconds of audio that make a chunk. Smaller ones come sooner and cost more. Default 1. */
  chunkDuration?: number;
}

export const generationDefaults: Omit<GenerationParams, "duration"> = {
  useSampling: true,
  temperature: 1,
  topK: 250,
  topP: 0,
  cfgCoef: 3,
  cfgCoefBeta: null,
  twoStepCfg: false,
  extendStride: null,
};

export const DEFAULT_DURATION = 15;
/** The part of a window by which the next one goes on: 18 of 30 s. */
const STRIDE = 0.6;

/** @throws UserError when a parameter is out of its range or unknown */
export function checkParams(params: Partial<GenerationParams>): void {
  for (const [name, value] of Object.entries(params)) {
    const limits = LIMITS[name as keyof GenerationParams];
    if (value === undefined) continue;
    if (!limits) {
      const camel = name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
      const meant =
        camel in LIMITS ? `; did you mean ${camel}?` : `; they are ${Object.keys(LIMITS).join(", ")}`;
      throw new UserError(`there is no generation parameter ${name}${meant}`);
    }
    if (!limits.fits(value)) throw new UserError(`${name}=${value}: ${limits.needs} is needed`);
  }
}

const number = (fits: (value: number) => boolean) => (value: unknown) =>
  typeof value === "number" && Number.isFinite(value) && fits(value);
const truth = { fits: (value: unknown) => typeof value === "boolean", needs: "true or false" };

const LIMITS: Record<keyof GenerationParams, { fits: (value: unknown) => boolean; needs: string }> = {
  useSampling: truth,
  temperature: { fits: number((t) => t >= 0), needs: "a number of at least 0" },
  topK: { fits: number((k) => k >= 0 && Number.isInteger(k)), needs: "a whole number of at least 0" },
  topP: { fits: number((p) => p >= 0 && p <= 1), needs: "a number from 0 to 1" },
  duration: { fits: number((d) => d > 0), needs: "a number of seconds above 0" },
  cfgCoef: { fits: number(() => true), needs: "a number" },
  cfgCoefBeta: { fits: (b) => b === null || number(() => true)(b), needs: "a number or null" },
  twoStepCfg: truth,
  extendStride: {
    fits: (s) => s === null || number((x) => x > 0)(s),
    needs: "a number of seconds above 0, or null",
  },
};

/** The names that the sampler uses, which are AudioCraft's. */
export function samplingOptions(params: GenerationParams): SamplingOptions {
  const { useSampling: use_sampling, temperature: temp, topK: top_k, topP: top_p } = params;
  return { use_sampling, temp, top_k, top_p };
}

/** Frames by which each window goes on after the one before. @throws UserError for a stride of a window or more */
export function strideFrames(
  { extendStride }: GenerationParams,
  maxDuration: number,
  frameRate: number,
): number {
  if (extendStride === null) return Math.max(1, Math.floor(STRIDE * maxDuration * frameRate));
  if (extendStride >= maxDuration)
    throw new UserError(
      `an extend stride of ${extendStride} s must be below the ${maxDuration} s that the model was trained on, so that each window has a prompt`,
    );
  return Math.max(1, Math.floor(extendStride * frameRate));
}

/** One seed per row. @throws UserError when they are not whole numbers from 0 to 2^31 - 1, or not as many as rows */
export function rowSeeds(seed: number | readonly number[], rows: number): number[] {
  const seeds = typeof seed === "number" ? Array.from({ length: rows }, (_, row) => seed + row) : [...seed];
  if (seeds.length !== rows) throw new UserError(`${seeds.length} seeds for ${rows} descriptions`);
  const wrong = seeds.find((each) => !Number.isInteger(each) || each < 0 || each >= 2 ** 31);
  if (wrong !== undefined)
    throw new UserError(`seed=${wrong}: a whole number from 0 to ${2 ** 31 - 1} is needed`);
  return seeds;
}
