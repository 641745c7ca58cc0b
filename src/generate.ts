/**
 * `npm run generate -- "a description" ["another"] [duration=8] [out=FOLDER] [seed=1] …`: audio from a checkpoint alone.
 */
import { existsSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { composeTrainConfig, PROJECT_ROOT } from "./config/index.ts";
import { levelOptions, normalizeAudio, peak, rms } from "./data/audio/normalize.ts";
import { writeWav } from "./data/audio/write_wav.ts";
import { UserError } from "./errors.ts";
import { terminal } from "./log/live_line.ts";
import { configureRuntime, type RuntimeOptions } from "./runtime/options.ts";
import { slug } from "./solvers/samples.ts";
import { resolveDoraDir } from "./xp/folder.ts";

const help = `usage: npm run generate -- "a description" ["another description" …] [key=value | --key value …]

  model         run signature, checkpoint file or folder          newest checkpoint
  duration      seconds                                            that of the training segments
  out           folder for the WAV files, or a file for one of them   samples
  seed          of the draws                                       0
  temperature, top_k, top_p, cfg_coef, use_sampling, two_step_cfg  as the checkpoint's config says
  extend_stride seconds by which each window goes on beyond the trained duration   18
  strategy      loudness, peak, clip or rms: how the volume is set   as the checkpoint's config says
  device        cuda or cpu                                        cuda where there is one
  jit           none, graph or xla                                 auto
`;

interface Options {
  model: string | null;
  duration: number | null;
  out: string;
  seed: number;
  temperature: number | null;
  top_k: number | null;
  top_p: number | null;
  cfg_coef: number | null;
  use_sampling: boolean | null;
  two_step_cfg: boolean | null;
  extend_stride: number | null;
  strategy: string | null;
  device: string;
  jit: string;
}

const defaults: Options = {
  model: null,
  duration: null,
  out: "samples",
  seed: 0,
  temperature: null,
  top_k: null,
  top_p: null,
  cfg_coef: null,
  use_sampling: null,
  two_step_cfg: null,
  extend_stride: null,
  strategy: null,
  device: "cuda",
  jit: "auto",
};

/** Other names of options that people bring along. */
const aliases: Record<string, keyof Options> = { temp: "temperature", output: "out", checkpoint: "model" };
const texts = new Set(["model", "out", "strategy", "device", "jit"]);
const switches = new Set(["use_sampling", "two_step_cfg"]);

const choices: Record<string, string[]> = {
  strategy: ["loudness", "peak", "clip", "rms"],
  device: ["cuda", "cpu"],
  jit: ["auto", "none", "graph", "xla"],
};

const ranges: Record<string, { min?: number; max?: number; whole?: boolean }> = {
  seed: { whole: true, max: 2 ** 31 - 1 },
  top_k: { whole: true },
  top_p: { max: 1 },
  cfg_coef: { min: Number.NEGATIVE_INFINITY },
  duration: { min: 0.01 },
  extend_stride: { min: 0.01 },
};

export async function main(argv: string[]): Promise<number> {
  if (argv.includes("--help") || argv.includes("-h")) {
    process.stdout.write(help);
    return 0;
  }
  const { descriptions, options } = parseArguments(argv);
  const prompts = descriptions.length > 0 ? descriptions : [null];
  configureRuntime({
    device: options.device as RuntimeOptions["device"],
    jit: options.jit as RuntimeOptions["jit"],
  });
  const doraDir = resolveDoraDir(composeTrainConfig([]));
  const [{ resolveCheckpoint }, { loadMusicGen }] = await Promise.all([
    import("./solvers/resolve.ts"),
    import("./solvers/trained.ts"),
  ]);
  const path = resolveCheckpoint(options.model, doraDir);
  const { musicgen, cfg, signature, epochs } = await loadMusicGen(path);
  process.stderr.write(`model ${signature}, ${epochs} epochs: ${relative(process.cwd(), path) || path}\n`);
  if (descriptions.length === 0) process.stderr.write("no description given: generating without one\n");

  const { lm } = cfg.generate;
  const duration = options.duration ?? musicgen.maxDuration;
  const began = performance.now();
  const { audio, sampleRate } = await musicgen.generate(prompts, {
    duration,
    seed: options.seed,
    use_sampling: options.use_sampling ?? lm.use_sampling,
    temp: options.temperature ?? lm.temp,
    top_k: options.top_k ?? lm.top_k,
    top_p: options.top_p ?? lm.top_p,
    cfg_coef: options.cfg_coef ?? cfg.classifier_free_guidance.inference_coef,
    two_step_cfg: options.two_step_cfg ?? cfg.transformer_lm.two_step_cfg,
    ...(options.extend_stride === null ? {} : { extend_stride: options.extend_stride }),
    onProgress: (done, total) => {
      const seconds = (performance.now() - began) / 1000;
      const made = (done / total) * duration * prompts.length;
      terminal.update(`generating ${done}/${total} frames | ${(made / seconds || 0).toFixed(2)}x real time`);
    },
  });
  terminal.clear();
  const seconds = (performance.now() - began) / 1000;
  const levels = levelOptions({
    ...cfg.generate.audio,
    ...(options.strategy ? { strategy: options.strategy } : {}),
  });
  for (const [index, samples] of audio.entries()) {
    const normalized = normalizeAudio(samples, sampleRate, levels);
    const file = outputPath(options.out, prompts[index], index, prompts.length, options.seed);
    writeWav(file, { samples: normalized, sampleRate });
    const level = `peak ${decibel(peak(normalized))}, RMS ${decibel(rms(normalized))} dBFS`;
    process.stdout.write(
      `${file}  (${(normalized[0].length / sampleRate).toFixed(2)} s, ${sampleRate} Hz, ${level})\n`,
    );
  }
  const total = duration * prompts.length;
  process.stderr.write(
    `${total.toFixed(1)} s of audio in ${seconds.toFixed(1)} s: ${(total / seconds).toFixed(2)}x real time\n`,
  );
  return 0;
}

/** Free words are descriptions; `key=value` and `--key value` with a known key are options. */
function parseArguments(argv: string[]): { descriptions: string[]; options: Options } {
  const options = { ...defaults };
  const descriptions: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i];
    const [, dashes, key, value] = /^(--)?([a-zA-Z_][\w-]*)(?:=([\s\S]*))?$/.exec(argument) ?? [];
    if (dashes || (key !== undefined && value !== undefined)) {
      setOption(options, key.replaceAll("-", "_"), value ?? argv[++i]);
    } else {
      descriptions.push(argument);
    }
  }
  return { descriptions, options };
}

function setOption(options: Options, name: string, value: string | undefined): void {
  const key = (aliases[name] ?? name) as keyof Options;
  if (!(key in options)) {
    throw new UserError(
      `generate has no option ${name}; it has ${Object.keys(defaults).join(", ")} (a description with = in it: description first word without =)`,
    );
  }
  if (value === undefined) throw new UserError(`--${name} needs a value`);
  (options as unknown as Record<string, unknown>)[key] = parseValue(key, value);
}

function parseValue(key: string, value: string): string | number | boolean {
  const allowed = choices[key];
  if (allowed && !allowed.includes(value)) throw new UserError(`${key}=${value}: use ${allowed.join(", ")}`);
  if (texts.has(key)) return value;
  if (switches.has(key)) {
    if (/^(true|false)$/i.test(value)) return value.toLowerCase() === "true";
    throw new UserError(`${key}=${value}: use true or false`);
  }
  const number = Number(value);
  if (value.trim() === "" || !Number.isFinite(number))
    throw new UserError(`${key}=${value}: a number is needed`);
  const { min = 0, max = Number.POSITIVE_INFINITY, whole = false } = ranges[key] ?? {};
  if (number < min || number > max || (whole && !Number.isInteger(number))) {
    const range = max < Number.POSITIVE_INFINITY ? `from ${min} to ${max}` : `of at least ${min}`;
    throw new UserError(`${key}=${value}: ${whole ? "a whole number" : "a number"} ${range} is needed`);
  }
  return number;
}

/** `out` itself when it names a WAV file, else a file in that folder, named after the description. */
function outputPath(
  out: string,
  description: string | null,
  index: number,
  count: number,
  seed: number,
): string {
  const base = resolve(PROJECT_ROOT, out);
  if (out.endsWith(".wav")) return count === 1 ? base : base.replace(/\.wav$/, `_${index + 1}.wav`);
  const words = slug(description ?? "unconditional", 80);
  const name = `${words || "sample"}_seed${seed}`;
  const taken = (n: number) => existsSync(join(base, `${name}${n > 1 ? `_${n}` : ""}.wav`));
  let n = 1;
  while (taken(n)) n++;
  return join(base, `${name}${n > 1 ? `_${n}` : ""}.wav`);
}

function decibel(value: number): string {
  return value > 0 ? (20 * Math.log10(value)).toFixed(1) : "-inf";
}
