/** Generated samples as trackers show them: as WAV, with a picture and a text. */
import type { AudioClip } from "../data/audio/audio.ts";
import { readAudio } from "../data/audio/read.ts";
import { spectrogramPng } from "../data/audio/spectrogram.ts";
import { encodeAudio } from "../data/audio/write.ts";
import type { Trackers } from "../log/trackers/build.ts";
import type { TrackedSample } from "../log/trackers/tracker.ts";
import { readSamples, type Sample } from "./samples.ts";

/** What is told again of earlier epochs, so that a long run is resumed without a long wait. */
const MAX_EPOCHS = 20;
const MAX_SAMPLES = 8;

/** A sample that is written, and its audio, for a tracker. */
export async function trackedSample(sample: Sample, clip: AudioClip): Promise<TrackedSample> {
  const { samples, sampleRate } = clip;
  return {
    name: sample.id,
    caption: caption(sample),
    wav: await encodeAudio(clip, "wav"),
    sampleRate,
    channels: samples.length,
    frames: samples[0].length,
    picture: spectrogramPng(clip),
  };
}

/**
 * Tells trackers that start anew (TensorBoard's files) of the samples in a run's folder: the first 8 of each of the newest 20 epochs, up
 * to epoch `last`. Files that cannot be read any more are left out.
 */
export async function tellEarlierSamples(trackers: Trackers, folder: string, last: number): Promise<void> {
  if (!trackers.wantEarlierSamples) return;
  const epochs = [...readSamples(folder).byEpoch].filter(([epoch]) => epoch <= last).slice(-MAX_EPOCHS);
  for (const [epoch, samples] of epochs) {
    for (const sample of samples.slice(0, MAX_SAMPLES)) {
      const clip = await readAudio(sample.path).catch(() => null);
      if (clip) trackers.earlierSample(await trackedSample(sample, clip), epoch);
    }
  }
}

/** The conditions, one a line, as Markdown shows them. */
function caption({ conditioning, prompt }: Sample): string {
  const lines = Object.entries(conditioning).map(([name, value]) => `${name}: ${value ?? "none"}`);
  if (prompt) lines.push(`continues a prompt of ${prompt.duration.toFixed(1)} s`);
  return lines.join("  \n") || "no conditions";
}
