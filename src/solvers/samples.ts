/**
 * Generated samples of a run, in AudioCraft's layout: `<folder>/<epoch>/<id>.wav` (or another format) with `<id>.json` beside it. The id comes
 * from what the sample was made for, so the same prompt has the same name in every epoch.
 */
import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type AudioFormat, writeAudio } from "../data/audio/write.ts";
import { writeFileAtomic } from "../xp/folder.ts";

export interface Sample {
  /** Position in the data set. */
  index: number;
  audio: Float32Array[];
  sampleRate: number;
  /** Of the files. */
  format: AudioFormat;
  conditions: Record<string, string | null>;
  /** The audio that was continued, if any. */
  prompt: Float32Array[] | null;
  generationArgs: Record<string, unknown>;
}

/** Writes a sample and its description; returns the path of the audio. */
export async function writeSample(folder: string, epoch: number, sample: Sample): Promise<string> {
  const known = Object.entries(sample.conditions).filter(
    (entry): entry is [string, string] => entry[1] !== null,
  );
  const id = sampleId(sample, known);
  const directory = join(folder, String(epoch));
  mkdirSync(directory, { recursive: true });
  const { audio, sampleRate, format } = sample;
  const path = join(directory, `${id}.${format}`);
  await writeAudio(path, { samples: audio, sampleRate });
  let prompt: { path: string; duration: number } | null = null;
  if (sample.prompt) {
    const promptPath = join(directory, "prompt", `${id}.${format}`);
    await writeAudio(promptPath, { samples: sample.prompt, sampleRate });
    prompt = { path: promptPath, duration: sample.prompt[0].length / sampleRate };
  }
  const description = {
    id,
    path,
    epoch,
    duration: audio[0].length / sampleRate,
    conditioning: Object.fromEntries(known),
    prompt,
    reference: null,
    generation_args: sample.generationArgs,
  };
  writeFileAtomic(
    join(directory, `${id}.json`),
    `${JSON.stringify(description, null, 2)}
`,
  );
  return path;
}

/** sha1 of the position, the prompt and the conditions; then what kind it is and what it was asked for, to be read. */
function sampleId({ index, prompt }: Sample, conditions: [string, string][]): string {
  const hash = createHash("sha1").update(String(index));
  for (const channel of prompt ?? [])
    hash.update(new Uint8Array(channel.buffer, channel.byteOffset, channel.byteLength));
  hash.update(JSON.stringify(Object.fromEntries(conditions.sort(([a], [b]) => (a < b ? -1 : 1)))));
  const kind = prompt ? "prompted" : "unprompted";
  const slugs = conditions.map(([name, text]) => `${name}=${slug(text)}`).join("-");
  return `${hash.digest("hex")}_${kind}_${slugs || "unconditioned"}`.slice(0, 200);
}

/** A text as part of a file name: lower-case words joined by hyphens, at most `length` characters. */
export function slug(text: string, length = 100): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")
    .slice(0, length);
}
