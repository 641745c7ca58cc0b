/**
 * Generated samples of a run, in AudioCraft's layout: `<folder>/<epoch>/<id>.wav` (or another format) with `<id>.json` beside it, prompts
 * in `<folder>/<epoch>/prompt/`, and references, which do not change, once in `<folder>/reference/`. Levels are set as `generate.audio` says.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, extname, join } from "node:path";
import { writeFileAtomically } from "../checkpoint/atomic_file.ts";
import type { AudioClip } from "../data/audio/audio.ts";
import { type NormalizeOptions, normalizeAudio } from "../data/audio/normalize.ts";
import { type AudioFormat, writeAudio } from "../data/audio/write.ts";
import { audioId, type SampleInput, sampleId } from "./sample_id.ts";

/** A sample to be written. */
export interface NewSample extends SampleInput {
  audio: Float32Array[];
  sampleRate: number;
  /** What the data set has in its place. */
  reference: Float32Array[] | null;
  /** The reference is called as the sample, and not by its own content. */
  sharesId?: boolean;
  generationArgs: Record<string, unknown>;
}

/** How the files are written. */
export interface SampleFiles {
  format: AudioFormat;
  levels: NormalizeOptions;
}

export interface AudioReference {
  id: string;
  path: string;
  /** Seconds. */
  duration: number;
}

/** A sample that is written; its JSON file holds this. */
export interface Sample extends AudioReference {
  epoch: number;
  /** By conditioner: the text, the path, or null for none. */
  conditioning: Record<string, string | null>;
  prompt: AudioReference | null;
  reference: AudioReference | null;
  generation_args: Record<string, unknown>;
}

/** Writes a sample, its prompt and reference, and last its description. Returns that, and the audio as it was written. */
export async function writeSample(
  folder: string,
  epoch: number,
  sample: NewSample,
  { format, levels }: SampleFiles,
): Promise<{ sample: Sample; clip: AudioClip }> {
  const { sampleRate } = sample;
  const levelled = (samples: Float32Array[]): AudioClip => ({
    samples: normalizeAudio(samples, sampleRate, levels),
    sampleRate,
  });
  /** Audio that is the same whenever it is written: what is there stays. */
  const store = async (
    directory: string,
    samples: Float32Array[] | null,
    name?: string,
  ): Promise<AudioReference | null> => {
    if (samples === null) return null;
    const id = name ?? audioId(samples);
    const path = storedAudio(directory, id) ?? join(directory, `${id}.${format}`);
    if (!existsSync(path)) await writeAudio(path, levelled(samples));
    return { id, path, duration: samples[0].length / sampleRate };
  };

  const id = sampleId(sample);
  const path = join(folder, String(epoch), `${id}.${format}`);
  await mkdir(dirname(path), { recursive: true });
  const prompt = await store(join(folder, String(epoch), "prompt"), sample.prompt);
  const reference = await store(
    join(folder, "reference"),
    sample.reference,
    sample.sharesId ? id : undefined,
  );
  const clip = levelled(sample.audio);
  await writeAudio(path, clip);
  const description: Sample = {
    id,
    path,
    epoch,
    duration: clip.samples[0].length / sampleRate,
    conditioning: sample.conditions,
    prompt,
    reference,
    generation_args: sample.generationArgs,
  };
  const text = Buffer.from(`${JSON.stringify(description, null, 2)}\n`);
  await writeFileAtomically(descriptionOf(path), text.length, (file) => file.append(text));
  return { sample: description, clip };
}

/** The samples of a folder, to compare epochs and runs. */
export interface Samples {
  /** Epoch -> its samples in the order of their ids. Epochs ascend. */
  byEpoch: Map<number, Sample[]>;
  /** Id -> epoch -> sample. Epochs ascend. */
  byId: Map<string, Map<number, Sample>>;
}

/**
 * Reads the descriptions in a run's folder of samples; those that cannot be read are left out. Paths are where the files are now: the
 * folder may have been moved or copied.
 */
export function readSamples(folder: string): Samples {
  const byEpoch: Samples["byEpoch"] = new Map();
  const byId: Samples["byId"] = new Map();
  const epochs = listFolder(folder).filter((name) => /^\d+$/.test(name));
  for (const epoch of epochs.map(Number).sort((a, b) => a - b)) {
    const names = listFolder(join(folder, String(epoch))).filter((name) => name.endsWith(".json"));
    const samples = names.sort().flatMap((name) => readDescription(folder, epoch, name) ?? []);
    if (samples.length > 0) byEpoch.set(epoch, samples);
    for (const sample of samples) {
      if (!byId.has(sample.id)) byId.set(sample.id, new Map());
      byId.get(sample.id)!.set(epoch, sample);
    }
  }
  return { byEpoch, byId };
}

function readDescription(folder: string, epoch: number, name: string): Sample | null {
  const here = (path: string, ...parts: string[]) => join(folder, ...parts, path.split("/").at(-1) as string);
  try {
    const sample = JSON.parse(readFileSync(join(folder, String(epoch), name), "utf8")) as Sample;
    const { path, prompt, reference } = sample;
    return {
      ...sample,
      epoch,
      path: here(path, String(epoch)),
      conditioning: sample.conditioning ?? {},
      prompt: prompt && { ...prompt, path: here(prompt.path, String(epoch), "prompt") },
      reference: reference && { ...reference, path: here(reference.path, "reference") },
    };
  } catch {
    return null;
  }
}

/** The audio file with that id in whatever format, if there is one. */
function storedAudio(directory: string, id: string): string | undefined {
  const name = listFolder(directory).find((file) => file.startsWith(`${id}.`) && !file.endsWith(".tmp"));
  return name && join(directory, name);
}

function descriptionOf(path: string): string {
  return `${path.slice(0, -extname(path).length)}.json`;
}

function listFolder(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}
