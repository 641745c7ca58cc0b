/** The evaluate stage's second part: audio is generated for the items of a data set and measured against them. */
import type { MusicGenConfig } from "../config/schema.ts";
import { levelOptions, normalizeAudio } from "../data/audio/normalize.ts";
import { type Batch, itemWav } from "../data/batch.ts";
import { type MusicInfo, musicConditions } from "../data/music_dataset.ts";
import type { ChosenMetric } from "../metrics/build.ts";
import { ChromaStemConditioner } from "../models/conditioners/chroma.ts";
import { configuredParams } from "../models/musicgen/configured.ts";
import type { MusicGen } from "../models/musicgen.ts";
import { scoped, type Tensor, tf } from "../runtime/index.ts";
import { clipsOf } from "./generate_stage.ts";
import { MeanMetrics, type Metrics } from "./stage_metrics.ts";

export interface EvaluationProgress {
  /** Within the generation for a batch. */
  onFrame(done: number, frames: number): void;
  /** After a batch. */
  onBatch(metrics: Metrics): void;
}

/**
 * Generates without prompts, as long as each batch's references (or `evaluate.fixed_generation_duration`), brings that to the
 * level that `generate.audio` says, and measures it. With `evaluate.truncate_audio`, references are their first seconds.
 * The metrics' models are not disposed of.
 * @returns the metrics and `rtf`, seconds of work per second of one clip
 * @throws UserError when there was nothing to measure
 */
export async function evaluateGeneration(
  musicgen: MusicGen,
  cfg: MusicGenConfig,
  batches: AsyncIterable<Batch<MusicInfo>>,
  metrics: readonly ChosenMetric[],
  { onFrame, onBatch }: EvaluationProgress,
): Promise<Metrics> {
  const mean = new MeanMetrics();
  const seconds = cfg.evaluate.truncate_audio;
  const run = async () => {
    let index = 0;
    for await (const loaded of batches) {
      const batch = seconds === null ? loaded : truncated(loaded, Math.trunc(seconds * cfg.sample_rate));
      const { audio, rtf } = await generateLike(musicgen, cfg, batch, index, onFrame);
      await measure(musicgen, batch, audio, metrics);
      mean.add({ rtf });
      index += batch.infos.length;
      onBatch(mean.mean());
    }
  };
  const melody = musicgen.lm.conditionProvider.conditioners.self_wav;
  // a clip can only have its reference's melody if that is what it was generated for
  const comparesMelodies = metrics.some(({ name }) => name === "chroma_cosine");
  if (comparesMelodies && melody instanceof ChromaStemConditioner) await melody.withoutEvalWavs(run);
  else await run();
  return Object.assign(mean.mean(), ...metrics.map(({ metric }) => metric.compute())) as Metrics;
}

/** A clip for each item of a batch, at most as long as the batch. */
async function generateLike(
  musicgen: MusicGen,
  cfg: MusicGenConfig,
  batch: Batch<MusicInfo>,
  index: number,
  onProgress: (done: number, frames: number) => void,
): Promise<{ audio: Float32Array[][]; rtf: number }> {
  const samples = batch.shape[2];
  const duration = cfg.evaluate.fixed_generation_duration ?? samples / cfg.sample_rate;
  const frames = Math.ceil(duration * musicgen.frameRate - 1e-6);
  const attributes = batch.infos.map((info, row) => musicConditions(info, itemWav(batch, row)));
  const began = performance.now();
  const generated = await musicgen.generateFor(attributes, {
    ...configuredParams(cfg),
    // half a frame more, so that rounding cannot cost one
    duration: (frames + 0.5) / musicgen.frameRate,
    seed: 1234 + index,
    onProgress,
  });
  const rtf = (performance.now() - began) / 1000 / duration;
  const level = levelOptions(cfg.generate.audio);
  const audio = generated.audio.map((clip) => {
    const cut = clip.map((channel) => channel.subarray(0, samples));
    return normalizeAudio(cut, musicgen.sampleRate, level);
  });
  return { audio, rtf };
}

/** Hands each item to each metric; where generated clips are shorter than references, as much of these. */
async function measure(
  musicgen: MusicGen,
  batch: Batch<MusicInfo>,
  generated: Float32Array[][],
  metrics: readonly ChosenMetric[],
): Promise<void> {
  const references = clipsOf(batch);
  const coded = metrics.some(({ name, useGt }) => useGt && name !== "text_consistency")
    ? throughCodec(musicgen, batch)
    : null;
  for (const [row, { nFrames, sampleRate, description }] of batch.infos.entries()) {
    for (const { name, metric, useGt } of metrics) {
      const reference = references[row];
      // what a text is compared with is the recording itself, without its padding
      const truth = () =>
        name === "text_consistency" ? reference.map((x) => x.subarray(0, nFrames)) : coded![row];
      const heard = useGt ? truth() : generated[row];
      const samples = Math.min(heard[0].length, reference[0].length);
      await metric.update({
        generated: heard.map((channel) => channel.subarray(0, samples)),
        reference: reference.map((channel) => channel.subarray(0, samples)),
        sampleRate,
        length: Math.min(nFrames, samples),
        description,
      });
    }
  }
}

/** The batch after encoding and decoding, as long as before. */
function throughCodec({ codec }: MusicGen, { wav, shape }: Batch): Float32Array[][] {
  return scoped(() => {
    const { codes, scale } = codec.encode(tf.tensor3d(wav, shape) as Tensor);
    const decoded = codec.decode(codes, scale);
    const values = tf.slice(decoded, [0, 0, 0], shape).dataSync() as Float32Array<ArrayBuffer>;
    return clipsOf({ wav: values, shape, infos: [] });
  });
}

/** The first samples of every item. */
function truncated(batch: Batch<MusicInfo>, samples: number): Batch<MusicInfo> {
  const [rows, channels, length] = batch.shape;
  if (samples >= length) return batch;
  const wav = new Float32Array(rows * channels * samples);
  for (const [i, channel] of clipsOf(batch).flat().entries()) {
    wav.set(channel.subarray(0, samples), i * samples);
  }
  const infos = batch.infos.map((info) => ({
    ...info,
    nFrames: Math.min(info.nFrames, samples),
    totalFrames: samples,
  }));
  return { wav, shape: [rows, channels, samples], infos };
}
