/** Where generated audio goes: files with names that say what they are, or standard output. */
import { existsSync } from "node:fs";
import { extname, join, resolve } from "node:path";
import { writeFileAtomically } from "../checkpoint/atomic_file.ts";
import type { AudioClip } from "../data/audio/audio.ts";
import { type NormalizeOptions, normalizeAudio, peak, rms } from "../data/audio/normalize.ts";
import { spectrogramPng } from "../data/audio/spectrogram.ts";
import { AUDIO_FORMATS, type AudioFormat, encodeAudio, writeAudio } from "../data/audio/write.ts";
import { toInt16 } from "../data/audio/write_wav.ts";
import { UserError } from "../errors.ts";
import { slug } from "../solvers/sample_id.ts";
import type { Options } from "./arguments.ts";
import type { Job } from "./jobs.ts";
import { StandardOutput } from "./standard_output.ts";

/** How samples are levelled and written. */
export interface OutputOptions extends Pick<Options, "format" | "mp3_rate" | "spectrogram"> {
  levels: NormalizeOptions;
}

const OTHER_AUDIO = /\.(aac|m4a|mp4|opus|wma|aiff?|au|raw|pcm)$/i;

/** Checks before anything heavy starts that every job can be written. @throws UserError */
export function checkOutputs(jobs: readonly Job[], options: Options): void {
  for (const { out } of new Set(jobs)) {
    if (OTHER_AUDIO.test(out))
      throw new UserError(`out=${out}: no encoder for ${extname(out)}; use .${AUDIO_FORMATS.join(", .")}`);
    const own = fileFormat(out);
    if (own && options.format && own !== options.format)
      throw new UserError(
        `out=${out} is not a ${options.format} file: leave format away or give it another name`,
      );
  }
  const toStandardOutput = jobs.filter(({ out }) => out === "-");
  if (options.format === "pcm" && toStandardOutput.length < jobs.length)
    throw new UserError(
      "format=pcm is for standard output (out=-) only; files of it could not be told apart",
    );
  if (options.stream && toStandardOutput.length < jobs.length)
    throw new UserError("stream=true writes to standard output (out=-); leave it away to write files");
  if (toStandardOutput.length > 1)
    throw new UserError(`out=- takes one sample, and ${toStandardOutput.length} are asked for`);
  if (options.stream && options.format && !["wav", "pcm"].includes(options.format))
    throw new UserError(`format=${options.format} cannot be streamed; use wav or pcm`);
  if (options.stream && (options.strategy || options.normalize || options.spectrogram))
    throw new UserError(
      "a stream has the model's own levels: normalising or a picture needs the whole of it",
    );
  refuseUnused(jobs, options);
  if (toStandardOutput.length > 0) StandardOutput.requirePipe();
}

/** Options that would do nothing beside the others. */
function refuseUnused(jobs: readonly Job[], options: Options): void {
  const { strategy, normalize, chunk_duration: chunk, mp3_rate: rate } = options;
  if (strategy && normalize === false)
    throw new UserError(`strategy=${strategy} normalises: it does not go with normalize=false`);
  if (chunk !== undefined && !options.stream)
    throw new UserError(`chunk_duration=${chunk} is for stream=true: files are written whole`);
  if (rate !== undefined && jobs.every(({ out }) => (fileFormat(out) ?? options.format) !== "mp3"))
    throw new UserError(`mp3_rate=${rate} is for MP3 files: give format=mp3 or out=NAME.mp3`);
  if (jobs.some(({ promptAudio }) => promptAudio !== null)) return;
  if (jobs.some(({ promptDuration }) => promptDuration !== null))
    throw new UserError("prompt_duration is a part of prompt_audio, and none is given");
  if (options.remove_prompts)
    throw new UserError("remove_prompts=true needs something to remove: give prompt_audio");
}

/** Levels and writes a sample; returns a line about it. */
export async function writeOutput(
  job: Job,
  { samples, sampleRate }: AudioClip,
  root: string,
  options: OutputOptions,
): Promise<string> {
  const clip = { samples: normalizeAudio(samples, sampleRate, options.levels), sampleRate };
  const level = `peak ${decibels(peak(clip.samples))}, RMS ${decibels(rms(clip.samples))} dBFS`;
  const about = `(${(clip.samples[0].length / sampleRate).toFixed(2)} s, ${sampleRate} Hz, ${level})`;
  if (job.out === "-") {
    const output = new StandardOutput();
    await output.write(
      options.format === "pcm"
        ? pcm16(clip.samples)
        : await encodeAudio(clip, (options.format as AudioFormat) ?? "wav", { mp3Rate: options.mp3_rate }),
    );
    return `standard output  ${about}`;
  }
  const format = fileFormat(job.out) ?? (options.format as AudioFormat | undefined) ?? "wav";
  const file = outputPath(job, root, format);
  await writeAudio(file, clip, { format, mp3Rate: options.mp3_rate });
  if (options.spectrogram) {
    const picture = spectrogramPng(clip);
    await writeFileAtomically(`${file.slice(0, -extname(file).length)}.png`, picture.length, (png) =>
      png.append(picture),
    );
  }
  return `${file}  ${about}`;
}

/** Interleaved 16-bit samples, clamped. */
export function pcm16(samples: Float32Array[]): Uint8Array {
  const values = toInt16(samples);
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** `out` itself when it names an audio file (numbered when several samples go there), else a file in that folder, named after the description. */
function outputPath(
  { out, description, seed, count, index }: Job,
  root: string,
  format: AudioFormat,
): string {
  const base = resolve(root, out);
  if (fileFormat(out))
    return count === 1 ? base : `${base.slice(0, -extname(base).length)}_${index + 1}${extname(base)}`;
  const words = slug(description ?? "unconditional", 80);
  const name = `${words || "sample"}_seed${seed}`;
  const path = (n: number) => join(base, `${name}${n > 1 ? `_${n}` : ""}.${format}`);
  let n = 1;
  while (existsSync(path(n))) n++;
  return path(n);
}

/** The format that a file's name says, or null for a folder. */
function fileFormat(out: string): AudioFormat | null {
  const extension = extname(out).slice(1).toLowerCase();
  return AUDIO_FORMATS.find((known) => known === extension) ?? null;
}

function decibels(value: number): string {
  return value > 0 ? (20 * Math.log10(value)).toFixed(1) : "-inf";
}
