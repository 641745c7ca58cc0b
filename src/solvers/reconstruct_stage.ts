/** What a codec makes of clips: how far it is from them, and files to hear. */
import type { CompressionConfig } from "../config/index.ts";
import { levelOptions } from "../data/audio/normalize.ts";
import type { AudioFormat } from "../data/audio/write.ts";
import type { Batch } from "../data/batch.ts";
import type { Trackers } from "../log/trackers/build.ts";
import { scoped, type Tensor, tf } from "../runtime/index.ts";
import { clipsOf } from "./generate_stage.ts";
import { writeSample } from "./samples.ts";
import { trackedSample } from "./tracked_samples.ts";

export interface ReconstructionRequest {
  batch: Batch;
  /** Position of the batch's first item in the data set. */
  index: number;
  epoch: number;
  /** Where samples go: `<folder>/<epoch>/`, and the clips themselves under the same names in `<folder>/reference/`. */
  folder: string;
  trackers: Trackers | null;
}

/** Writes the reconstructions of a batch and what they were made of; returns the seconds of work per second of one clip. */
export async function writeReconstructions(
  reconstruct: (wav: Tensor) => Tensor,
  cfg: CompressionConfig,
  { batch, index, epoch, folder, trackers }: ReconstructionRequest,
): Promise<number> {
  const { audio: section } = cfg.generate;
  const files = { format: section.format as AudioFormat, levels: levelOptions(section) };
  const began = performance.now();
  const values = scoped(() => reconstruct(waveOf(batch)).dataSync()) as Float32Array<ArrayBuffer>;
  const duration = batch.shape[2] / cfg.sample_rate;
  const realTimeFactor = (performance.now() - began) / 1000 / duration;
  const [clips, references] = [clipsOf({ ...batch, wav: values }), clipsOf(batch)];
  for (const [row, audio] of clips.entries()) {
    const { nFrames } = batch.infos[row];
    const cut = (clip: Float32Array[]) => clip.map((channel) => channel.subarray(0, nFrames));
    const written = await writeSample(
      folder,
      epoch,
      {
        index: index + row,
        seed: cfg.seed ?? 0,
        audio: cut(audio),
        sampleRate: cfg.sample_rate,
        conditions: {},
        prompt: null,
        reference: cut(references[row]),
        sharesId: true,
        generationArgs: {},
      },
      files,
    );
    if (trackers?.wantSamples) trackers.sample(await trackedSample(written.sample, written.clip), epoch);
  }
  return realTimeFactor;
}

/** The wave [B, C, T] of a batch, in the present scope. */
export function waveOf({ wav, shape }: Batch): Tensor {
  return tf.tensor3d(wav, shape) as Tensor;
}
