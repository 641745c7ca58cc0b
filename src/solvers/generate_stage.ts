/** The generate stage: audio for the descriptions of a data set's items, from nothing and as continuations of their begin. */
import type { MusicGenConfig } from "../config/schema.ts";
import { levelOptions, normalizeAudio } from "../data/audio/normalize.ts";
import type { AudioFormat } from "../data/audio/write.ts";
import type { Batch } from "../data/batch.ts";
import type { ConditioningAttributes } from "../data/conditioning.ts";
import type { MusicInfo } from "../data/music_dataset.ts";
import { withoutTexts } from "../models/conditioners/provider.ts";
import { configuredParams } from "../models/musicgen/configured.ts";
import type { MusicGen } from "../models/musicgen.ts";
import { writeSample } from "./samples.ts";

export interface SampleRequest {
  batch: Batch<MusicInfo>;
  attributes: ConditioningAttributes[];
  /** Position of the batch's first item in the data set; also moves the seed. */
  index: number;
  epoch: number;
  /** Where samples go: `<folder>/<epoch>/`. */
  folder: string;
  onProgress: (framesDone: number, frames: number) => void;
}

/** What is written of each item: audio that goes on from a prompt or from nothing, or the item itself. */
interface Variant {
  attributes: ConditioningAttributes[];
  prompt: Float32Array[][] | null;
  reference: boolean;
}

/** Generates and writes the samples of one batch as `cfg.generate` asks; returns each run's seconds of work per second of one sample. */
export async function generateSamples(
  musicgen: MusicGen,
  cfg: MusicGenConfig,
  request: SampleRequest,
): Promise<number[]> {
  const { batch, index, epoch, folder, onProgress } = request;
  const { lm, audio: format } = cfg.generate;
  const { segment_duration } = { ...cfg.dataset, ...cfg.dataset.generate } as { segment_duration: number };
  const duration = lm.gen_duration ?? segment_duration;
  const params = configuredParams(cfg);
  const conditioners = Object.keys(musicgen.lm.conditionProvider.conditioners);
  const realTimeFactors: number[] = [];
  for (const { attributes, prompt, reference } of variants(cfg, request, segment_duration ?? duration)) {
    const began = performance.now();
    const audio = reference
      ? clipsOf(batch)
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
    for (const [row, samples] of audio.entries()) {
      const { sampleRate } = musicgen;
      await writeSample(folder, epoch, {
        index: index + row,
        audio: normalizeAudio(samples, sampleRate, levelOptions(format)),
        sampleRate,
        format: format.format as AudioFormat,
        conditions: Object.fromEntries(
          conditioners.map((name) => [name, attributes[row].text[name] ?? null]),
        ),
        prompt: prompt?.[row] ?? null,
        generationArgs: {
          use_sampling: params.useSampling,
          temp: params.temperature,
          top_k: params.topK,
          top_p: params.topP,
          duration,
          cfg_coef: params.cfgCoef,
          cfg_coef_beta: params.cfgCoefBeta,
          two_step_cfg: params.twoStepCfg,
          remove_prompts: lm.remove_prompts,
        },
      });
    }
  }
  return realTimeFactors;
}

/** With `no_text_conditioning`, also audio that only follows the waveforms: what a style or a melody does without a text. */
function variants(
  { generate: { lm } }: MusicGenConfig,
  { batch, attributes }: SampleRequest,
  segment: number,
): Variant[] {
  const prompted = () => promptOf(batch, lm.prompt_duration ?? segment / 4);
  return [
    ...(lm.unprompted_samples ? [{ attributes, prompt: null, reference: lm.gen_gt_samples }] : []),
    ...(lm.prompted_samples ? [{ attributes, prompt: prompted(), reference: false }] : []),
    ...(lm.no_text_conditioning
      ? [{ attributes: withoutTexts(attributes), prompt: null, reference: false }]
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
