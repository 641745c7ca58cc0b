/**
 * `npm run generate -- "a description" ["another"] [duration=8] [out=FOLDER] [seed=1] …`: audio from a model's files alone.
 */
import { embeddedName } from "./checkpoint/embedded.ts";
import { composeTrainConfig, PROJECT_ROOT } from "./config/index.ts";
import type { MusicGenConfig } from "./config/schema.ts";
import { type AudioClip, AudioReadError } from "./data/audio/audio.ts";
import { type AudioForm, convertAudio } from "./data/audio/convert.ts";
import { levelOptions, type NormalizeOptions } from "./data/audio/normalize.ts";
import { readAudio } from "./data/audio/read.ts";
import { UserError } from "./errors.ts";
import { help, type Options, parseArguments } from "./generate/arguments.ts";
import { batches, type Job, plannedJobs } from "./generate/jobs.ts";
import { checkOutputs, type OutputOptions, writeOutput } from "./generate/output.ts";
import { samplingOf } from "./generate/sampling.ts";
import { streamToOutput } from "./generate/stream.ts";
import { terminal } from "./log/live_line.ts";
import type { GenerateOptions } from "./models/musicgen/params.ts";
import type { MusicGen } from "./models/musicgen.ts";
import type { WeightType } from "./nn/weight_types.ts";
import { checkedDevice, configureRuntime, type RuntimeOptions } from "./runtime/options.ts";
import { resolveDoraDir } from "./xp/folder.ts";

const DEFAULT_BATCH = 8;

export async function main(argv: string[]): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(help());
    return 0;
  }
  const { descriptions, options } = parseArguments(argv);
  const jobs = plannedJobs({ descriptions, options });
  checkOutputs(jobs, options);
  const { device = "cuda", jit = "auto" } = options;
  configureRuntime({ device: checkedDevice(device), jit: jit as RuntimeOptions["jit"] });
  const { loadMusicGen } = await import("./solvers/trained.ts");
  const doraDir = resolveDoraDir(composeTrainConfig([]));
  const { musicgen, cfg, signature, epochs, path } = await loadMusicGen(
    options.model ?? null,
    doraDir,
    options.weights as WeightType | undefined,
  );
  process.stderr.write(`model ${signature}${epochs > 0 ? `, ${epochs} epochs` : ""}\n`);
  if (!options.model && embeddedName(path) !== null)
    process.stderr.write("that is the shipped model; after `npm run train` it is your own\n");
  setStyle(musicgen, options);
  if (!options.unconditional && jobs.every(({ description }) => description === null))
    process.stderr.write("no description given: generating without one\n");

  if (options.stream) {
    const [job] = jobs;
    await streamToOutput(musicgen, job.description, options.format === "pcm" ? "pcm" : "wav", {
      ...(await requestOf([job], musicgen, cfg, options)),
      chunkDuration: options.chunk_duration,
    });
    return 0;
  }
  const output = { ...options, levels: levels(cfg, options) };
  const total = jobs.length;
  let done = 0;
  let seconds = 0;
  const began = performance.now();
  for (const batch of batches(jobs, options.batch ?? DEFAULT_BATCH)) {
    const title = total > batch.length ? `${done + 1} to ${done + batch.length} of ${total}: ` : "";
    seconds += await generateBatch(batch, musicgen, cfg, options, output, title);
    done += batch.length;
  }
  const spent = (performance.now() - began) / 1000;
  process.stderr.write(
    `${seconds.toFixed(1)} s of audio in ${spent.toFixed(1)} s: ${(seconds / spent).toFixed(2)}x real time\n`,
  );
  return 0;
}

/** Generates and writes the samples of a batch; returns the seconds of audio. */
async function generateBatch(
  jobs: Job[],
  musicgen: MusicGen,
  cfg: MusicGenConfig,
  options: Options,
  output: OutputOptions,
  title: string,
): Promise<number> {
  const request = await requestOf(jobs, musicgen, cfg, options);
  const began = performance.now();
  const { audio, sampleRate } = await musicgen.generate(
    jobs.map(({ description }) => description),
    {
      ...request,
      onProgress: (done, total) => {
        const seconds = (performance.now() - began) / 1000;
        const made = (done / musicgen.frameRate) * jobs.length;
        terminal.update(
          `${title}generating ${done}/${total} frames | ${(made / seconds || 0).toFixed(2)}x real time`,
        );
      },
    },
  );
  terminal.clear();
  let made = 0;
  for (const [row, job] of jobs.entries()) {
    const line = await writeOutput(job, { samples: audio[row], sampleRate }, PROJECT_ROOT, output);
    (job.out === "-" ? process.stderr : process.stdout).write(`${line}\n`);
    made += audio[row][0].length / sampleRate;
  }
  return made;
}

/** What the command line asks of the model for the jobs of one batch; what it leaves open is as the config says. */
async function requestOf(
  jobs: readonly Job[],
  musicgen: MusicGen,
  cfg: MusicGenConfig,
  options: Options,
): Promise<GenerateOptions> {
  const [{ duration, promptAudio, promptDuration }] = jobs;
  const prompt = promptAudio === null ? null : await read("prompt_audio", promptAudio, promptDuration);
  return {
    ...samplingOf(cfg, options),
    extendStride: options.extend_stride,
    duration: duration ?? musicgen.maxDuration,
    seed: jobs.map(({ seed }) => seed),
    prompt: prompt && { audio: jobs.map(() => prompt.samples), sampleRate: prompt.sampleRate },
    removePrompt: options.remove_prompts,
    melody: await readMelodies(jobs, musicgen),
  };
}

/** @throws UserError when it is asked for and the model is no style model */
function setStyle(musicgen: MusicGen, options: Options): void {
  const params = {
    evalCodebooks: options.style_eval_q,
    length: options.style_length,
    dsFactor: options.style_ds_factor,
    encodecCodebooks: options.style_encodec_n_q,
  };
  if (Object.values(params).some((value) => value !== undefined)) musicgen.setStyleParams(params);
}

/** The melodies of a batch in the model's form, or null when it has none. */
async function readMelodies(jobs: readonly Job[], form: AudioForm): Promise<GenerateOptions["melody"]> {
  if (jobs.every(({ melody }) => melody === null)) return null;
  const audio = [];
  for (const { melody } of jobs) {
    const clip = melody === null ? null : await read("melody", melody, null);
    audio.push(clip && convertAudio(clip, form).samples);
  }
  return { audio, sampleRate: form.sampleRate };
}

async function read(option: string, path: string, duration: number | null): Promise<AudioClip> {
  try {
    return await readAudio(path, { duration: duration ?? undefined });
  } catch (error) {
    if (error instanceof AudioReadError) throw new UserError(`${option}=${path}: ${error.reason}`);
    throw error;
  }
}

function levels(cfg: MusicGenConfig, { normalize, strategy }: Options): NormalizeOptions {
  if (normalize === false) return { strategy: "clip", peakClipHeadroomDb: 0 }; // only what a file cannot hold
  return levelOptions({ ...cfg.generate.audio, ...(strategy ? { strategy } : {}) });
}
