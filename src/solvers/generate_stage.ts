/** The generate stage: audio for the descriptions of a data set's items, from nothing and as continuations of their begin. */
import type { MusicGenConfig } from "../config/schema.ts";
import { levelOptions, normalizeAudio } from "../data/audio/normalize.ts";
import type { Batch } from "../data/batch.ts";
import type { ConditioningAttributes } from "../data/conditioning.ts";
import type { MusicInfo } from "../data/music_dataset.ts";
import type { MusicGen } from "../models/musicgen.ts";
import { writeSample } from "./samples.ts";

/** The first seconds of every item of a batch, float32 [B, C, T]. */
type Prompt = { wav: Float32Array; shape: [number, number, number] };

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

/** Generates and writes the samples of one batch as `cfg.generate` asks; returns each run's seconds of work per second of one sample. */
export async function generateSamples(
  musicgen: MusicGen,
  cfg: MusicGenConfig,
  request: SampleRequest,
): Promise<number[]> {
  const { batch, attributes, index, epoch, folder, onProgress } = request;
  const { lm, audio: format } = cfg.generate;
  const { segment_duration } = { ...cfg.dataset, ...cfg.dataset.generate } as { segment_duration: number };
  const duration = lm.gen_duration ?? segment_duration;
  const { use_sampling, temp, top_k, top_p } = lm;
  const cfg_coef = cfg.classifier_free_guidance.inference_coef;
  const settings = {
    use_sampling,
    temp,
    top_k,
    top_p,
    duration,
    cfg_coef,
    two_step_cfg: cfg.transformer_lm.two_step_cfg,
  };
  const prompts: (Prompt | null)[] = [
    ...(lm.unprompted_samples ? [null] : []),
    ...(lm.prompted_samples ? [promptOf(batch, lm.prompt_duration ?? segment_duration / 4)] : []),
  ];
  const conditioners = Object.keys(musicgen.lm.conditionProvider.conditioners);
  const realTimeFactors: number[] = [];
  for (const prompt of prompts) {
    const began = performance.now();
    const seed = 1234 + index;
    const { audio, sampleRate } = await musicgen.generateFor(attributes, {
      ...settings,
      seed,
      prompt,
      onProgress,
    });
    realTimeFactors.push((performance.now() - began) / 1000 / duration);
    for (const [row, samples] of audio.entries()) {
      writeSample(folder, epoch, {
        index: index + row,
        audio: normalizeAudio(samples, sampleRate, levelOptions(format)),
        sampleRate,
        conditions: Object.fromEntries(
          conditioners.map((name) => [name, attributes[row].text[name] ?? null]),
        ),
        prompt: prompt && promptRow(prompt, row),
        generationArgs: settings,
      });
    }
  }
  return realTimeFactors;
}

function promptOf(batch: Batch<MusicInfo>, duration: number): Prompt {
  const [rows, channels, length] = batch.shape;
  const kept = Math.min(length, Math.trunc(duration * batch.infos[0].sampleRate));
  const wav = new Float32Array(rows * channels * kept);
  for (let row = 0; row < rows * channels; row++) {
    wav.set(batch.wav.subarray(row * length, row * length + kept), row * kept);
  }
  return { wav, shape: [rows, channels, kept] };
}

function promptRow({ wav, shape: [, channels, length] }: Prompt, row: number): Float32Array[] {
  return Array.from({ length: channels }, (_, c) => {
    const start = (row * channels + c) * length;
    return wav.slice(start, start + length);
  });
}
