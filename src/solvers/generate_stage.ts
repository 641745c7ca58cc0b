/** The generate stage: audio for the descriptions of a data set's items, from nothing and as continuations of their begin. */
import type { MusicGenConfig } from "../config/schema.ts";
import { levelOptions } from "../data/audio/normalize.ts";
import type { AudioFormat } from "../data/audio/write.ts";
import type { Batch } from "../data/batch.ts";
import type { ConditioningAttributes } from "../data/conditioning.ts";
import type { MusicInfo } from "../data/music_dataset.ts";
import type { Trackers } from "../log/trackers/build.ts";
import { withoutTexts } from "../models/conditioners/provider.ts";
import { configuredParams } from "../models/musicgen/configured.ts";
import type { MusicGen } from "../models/musicgen.ts";
import { writeSample } from "./samples.ts";
import { trackedSample } from "./tracked_samples.ts";

export interface SampleRequest {
  batch: Batch<MusicInfo>;
  attributes: ConditioningAttributes[];
  /** Position of the batch's first item in the data set; also moves the seed. */
  index: number;
  epoch: number;
  /** Where samples go: `<folder>/<epoch>/`. */
  folder: string;
  /** Where samples are shown too. */
  trackers?: Trackers | null;
  onProgress: (framesDone: number, frames: number) => void;
}

/** What is written of each item: audio that goes on from a prompt or from nothing, or the item itself. */
interface Variant {
  attributes: ConditioningAttributes[];
  prompt: Float32Array[][] | null;
  reference: boolean;
  /** The items that are written. */
  rows: number[];
}

/** Generates and writes the samples of one batch as `cfg.generate` asks; returns each run's seconds of work per second of one sample. */
export async function generateSamples(
  musicgen: MusicGen,
  cfg: MusicGenConfig,
  request: SampleRequest,
): Promise<number[]> {
  const { batch, index, epoch, folder, trackers, onProgress } = request;
  const { lm, audio: section } = cfg.generate;
  const files = { format: section.format as AudioFormat, levels: levelOptions(section) };
  const { segment_duration } = { ...cfg.dataset, ...cfg.dataset.generate } as { segment_duration: number };
  const duration = lm.gen_duration ?? segment_duration;
  const params = configuredParams(cfg);
  const conditioners = Object.keys(musicgen.lm.conditionProvider.conditioners);
  const references = clipsOf(batch);
  const plans = variants(cfg, request, conditioners, segment_duration ?? duration);
  const realTimeFactors: number[] = [];
  for (const { attributes, prompt, reference, rows } of plans) {
    const began = performance.now();
    const audio = reference
      ? references
      : (
          await musicgen.generateFor(attributes, {
            ...params,
            duration,
            seed: 1234 + index,
            prompt: prompt && { audio: prompt, sampleRate: musicgen.sampleRate },
            removePrompt: lm.remove_prompts,
            onProgress,
          })
        ).audio;
    // nothing is generated for references: AudioCraft then says 1
    realTimeFactors.push(reference ? 1 : (performance.now() - began) / 1000 / duration);
    for (const row of rows) {
      const { sampleRate } = musicgen;
      const newSample = {
        index: index + row,
        seed: cfg.seed ?? 0,
        audio: audio[row],
        sampleRate,
        conditions: conditionsOf(attributes[row], conditioners),
        prompt: prompt?.[row] ?? null,
        reference: references[row],
        generationArgs: generationArgs(cfg, duration),
      };
      const { sample, clip } = await writeSample(folder, epoch, newSample, files);
      if (trackers?.wantSamples) trackers.sample(await trackedSample(sample, clip), epoch);
    }
  }
  return realTimeFactors;
}

/** What a sample is told by each conditioner: a text, the path of a sound, or null. */
function conditionsOf(
  { text, wav, joint_embed }: ConditioningAttributes,
  conditioners: string[],
): Record<string, string | null> {
  const value = (name: string) => text[name] ?? wav[name]?.path ?? joint_embed[name]?.text ?? null;
  return Object.fromEntries(conditioners.map((name) => [name, value(name)]));
}

/** How samples were generated, under the config's names. */
function generationArgs(cfg: MusicGenConfig, duration: number): Record<string, unknown> {
  const params = configuredParams(cfg);
  return {
    ...Object.fromEntries(
      Object.entries(cfg.classifier_free_guidance).map(([key, value]) => [
        `classifier_free_guidance_${key}`,
        value,
      ]),
    ),
    use_sampling: params.useSampling,
    temp: params.temperature,
    top_k: params.topK,
    top_p: params.topP,
    duration,
    cfg_coef: params.cfgCoef,
    cfg_coef_beta: params.cfgCoefBeta,
    two_step_cfg: params.twoStepCfg,
    remove_prompts: cfg.generate.lm.remove_prompts,
  };
}

/** With `no_text_conditioning`, also audio that only follows the waveforms: what a style or a melody does without a text. */
function variants(
  { generate: { lm } }: MusicGenConfig,
  { batch, attributes }: SampleRequest,
  conditioners: readonly string[],
  segment: number,
): Variant[] {
  const prompted = () => promptOf(batch, lm.prompt_duration ?? segment / 4);
  // without a text of its own, an item would only come a second time
  const has = ({ text }: ConditioningAttributes) => conditioners.some((name) => text[name] != null);
  const every = attributes.map((_, row) => row);
  const untold = every.filter((row) => has(attributes[row]) || !lm.unprompted_samples);
  return [
    ...(lm.unprompted_samples
      ? [{ attributes, prompt: null, reference: lm.gen_gt_samples, rows: every }]
      : []),
    ...(lm.prompted_samples ? [{ attributes, prompt: prompted(), reference: false, rows: every }] : []),
    ...(lm.no_text_conditioning
      ? [{ attributes: withoutTexts(attributes), prompt: null, reference: false, rows: untold }]
      : []),
  ];
}

/** Every item of a batch, per channel. */
export function clipsOf({ wav, shape }: Batch): Float32Array[][] {
  const [rows, channels, length] = shape;
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: channels }, (_, c) => {
      const start = (row * channels + c) * length;
      return wav.slice(start, start + length);
    }),
  );
}

/** The first seconds of every item of a batch, per channel. */
function promptOf(batch: Batch<MusicInfo>, duration: number): Float32Array[][] {
  const kept = Math.trunc(duration * batch.infos[0].sampleRate);
  return clipsOf(batch).map((clip) => clip.map((channel) => channel.slice(0, kept)));
}
