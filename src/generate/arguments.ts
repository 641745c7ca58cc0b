/** The command line of `generate`: its options, their limits, and the help that lists them. */
import { nearest } from "../config/suggest.ts";
import { AUDIO_FORMATS } from "../data/audio/write.ts";
import { UserError } from "../errors.ts";
import { WEIGHT_TYPES } from "../nn/weight_types.ts";
import { checkedDevice } from "../runtime/options.ts";

/** What an option takes, and how the help describes it. */
interface Option {
  takes: "text" | "number" | "switch";
  help: string;
  /** For the help: what holds without it. */
  absent?: string;
  among?: readonly string[];
  /** Throws for a text that is no value. */
  check?: (text: string) => unknown;
  min?: number;
  max?: number;
  whole?: boolean;
}

const configured = "as the model's config says";

/** In the order of the help. */
const OPTIONS = {
  model: {
    takes: "text",
    help: "default (the shipped model), run signature, checkpoint, folder, or a published model (facebook/musicgen-small)",
    absent: "newest checkpoint, or the shipped model",
  },
  duration: {
    takes: "number",
    help: "seconds, a prompt included; longer than trained: in windows",
    absent: "that of the training segments",
    min: 0.01,
  },
  out: {
    takes: "text",
    help: "folder, or a file (its extension is the format), or - for standard output",
    absent: "samples",
  },
  format: {
    takes: "text",
    help: "of the files; pcm (16-bit, no header) only with out=-",
    absent: "wav",
    among: [...AUDIO_FORMATS, "pcm"],
  },
  mp3_rate: { takes: "number", help: "kbit/s", absent: "320", min: 8, max: 320, whole: true },
  seed: {
    takes: "number",
    help: "the same seed gives the same audio",
    absent: "0",
    max: 2 ** 31 - 1,
    whole: true,
  },
  num_samples: {
    takes: "number",
    help: "samples per description, with seeds that count up",
    absent: "1",
    min: 1,
    whole: true,
  },
  batch: {
    takes: "number",
    help: "samples that are generated together at most",
    absent: "8",
    min: 1,
    whole: true,
  },
  prompts: {
    takes: "text",
    help: "file with a description per line, or JSON per line with description, duration, seed, num_samples, melody, prompt_audio, out",
  },
  unconditional: { takes: "switch", help: "without a description" },
  prompt_audio: { takes: "text", help: "audio file to continue" },
  prompt_duration: { takes: "number", help: "seconds of it that are continued", absent: "all", min: 0.01 },
  remove_prompts: { takes: "switch", help: "leave the prompt out of the files" },
  melody: { takes: "text", help: "audio file whose melody (or style) to follow, for models that can" },
  stream: { takes: "switch", help: "play while it is made: audio to standard output, out=-, not normalised" },
  chunk_duration: { takes: "number", help: "seconds of a streamed chunk", absent: "1", min: 0.01 },
  temperature: { takes: "number", help: "of the sampling", absent: configured },
  top_k: { takes: "number", help: "sample among the k most likely; 0: all", absent: configured, whole: true },
  top_p: {
    takes: "number",
    help: "sample among the likeliest of this total probability; 0: off",
    absent: configured,
    max: 1,
  },
  use_sampling: { takes: "switch", help: "false: always the most likely token", absent: configured },
  cfg_coef: {
    takes: "number",
    help: "guidance; 1 is none",
    absent: configured,
    min: Number.NEGATIVE_INFINITY,
  },
  cfg_coef_beta: {
    takes: "number",
    help: "double guidance: weight of the text beside a melody or style",
    absent: configured,
    min: Number.NEGATIVE_INFINITY,
  },
  two_step_cfg: { takes: "switch", help: "guidance in two passes", absent: configured },
  style_eval_q: {
    takes: "number",
    help: "style models: codebooks that an excerpt is heard through; fewer are looser",
    absent: configured,
    min: 1,
    whole: true,
  },
  style_length: {
    takes: "number",
    help: "style models: seconds of the excerpt",
    absent: configured,
    min: 0.01,
  },
  style_ds_factor: {
    takes: "number",
    help: "style models: every how manieth frame is kept",
    absent: configured,
    min: 1,
    whole: true,
  },
  style_encodec_n_q: {
    takes: "number",
    help: "style models: codebooks of the codec that listens",
    absent: configured,
    min: 1,
    whole: true,
  },
  extend_stride: {
    takes: "number",
    help: "seconds by which each window goes on",
    absent: "18 of 30",
    min: 0.01,
  },
  normalize: { takes: "switch", help: "false: levels as the model makes them", absent: "true" },
  strategy: {
    takes: "text",
    help: "how levels are set",
    absent: configured,
    among: ["loudness", "peak", "clip", "rms"],
  },
  spectrogram: { takes: "switch", help: "write a picture (PNG) beside each file" },
  device: {
    takes: "text",
    help: "where it is computed: cpu, cuda, cuda:1",
    absent: "cuda where there is one",
    check: checkedDevice,
  },
  weights: {
    takes: "text",
    help: "how the model's weights are kept: fewer bits are less exact, and faster on CPUs",
    absent: "float32",
    among: WEIGHT_TYPES,
  },
  jit: { takes: "text", help: "how it is computed", absent: "auto", among: ["auto", "none", "graph", "xla"] },
} as const satisfies Record<string, Option>;

export type OptionName = keyof typeof OPTIONS;
type Value<Takes> = Takes extends "text" ? string : Takes extends "number" ? number : boolean;

/** Options that were given; the others are absent. */
export type Options = { [K in OptionName]?: Value<(typeof OPTIONS)[K]["takes"]> };

/** Other names that people bring along. */
export const ALIASES: ReadonlyMap<string, OptionName> = new Map([
  ["temp", "temperature"],
  ["output", "out"],
  ["checkpoint", "model"],
  ["continue", "prompt_audio"],
]);

/** A command that takes these options, or some of them. */
export interface Command {
  name: string;
  options: readonly OptionName[];
  /** Other names of options. */
  aliases: ReadonlyMap<string, OptionName>;
  /** What else may have been meant by an unknown option. */
  hint: string;
}

const GENERATE: Command = {
  name: "generate",
  options: Object.keys(OPTIONS) as OptionName[],
  aliases: ALIASES,
  hint: " (a description with = in it: description first word without =)",
};

export interface Arguments {
  descriptions: string[];
  options: Options;
}

/**
 * Free words are descriptions (a model's name for `eval`); `key=value`, `--key value` and `--key=value` are options, `--key` and `--no-key` turn switches.
 * @throws UserError for unknown options and values that don't fit
 */
export function parseArguments(argv: readonly string[], command: Command = GENERATE): Arguments {
  const descriptions: string[] = [];
  const options: Options = {};
  for (let i = 0; i < argv.length; i++) {
    const [, dashes, key, value] = /^(--)?([a-zA-Z_][\w-]*)(?:=([\s\S]*))?$/.exec(argv[i]) ?? [];
    if (!dashes && value === undefined) {
      descriptions.push(argv[i]);
      continue;
    }
    const name = nameOf(key, command);
    if (name.off) {
      if (value !== undefined) throw new UserError(`--${key} takes no value`);
      set(options, name.option, "false");
    } else if (value !== undefined) {
      set(options, name.option, value);
    } else if (OPTIONS[name.option].takes === "switch" && !/^(true|false)$/i.test(argv[i + 1] ?? "")) {
      set(options, name.option, "true");
    } else {
      i++;
      if (i >= argv.length) throw new UserError(`--${key} needs a value`);
      set(options, name.option, argv[i]);
    }
  }
  return { descriptions, options };
}

/** The option of a name as it is written: with - or _, with another name, or switched off by no-. */
function nameOf(
  written: string,
  { name: command, options, aliases, hint }: Command,
): { option: OptionName; off: boolean } {
  const key = written.replaceAll("-", "_");
  const known = (name: string): OptionName | undefined =>
    options.find((option) => option === (aliases.get(name) ?? name));
  const option = known(key);
  if (option) return { option, off: false };
  const negated = key.startsWith("no_") ? known(key.slice(3)) : undefined;
  if (negated && OPTIONS[negated].takes === "switch") return { option: negated, off: true };
  const meant = nearest(key, options);
  throw new UserError(
    `${command} has no option ${written}${meant ? ` (did you mean ${meant}?)` : ""}; it has ${options.join(", ")}${hint}`,
  );
}

function set(options: Options, name: OptionName, text: string): void {
  (options as Record<string, unknown>)[name] = parseValue(name, text);
}

/** @throws UserError that names `label` when `text` is no value of the option */
export function parseValue(name: OptionName, text: string, label: string = name): string | number | boolean {
  const {
    takes,
    among,
    min = 0,
    max = Number.POSITIVE_INFINITY,
    whole = false,
    check,
  }: Option = OPTIONS[name];
  if (takes === "switch") {
    if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
    throw new UserError(`${label}=${text}: use true or false`);
  }
  if (takes === "text") {
    if (text === "") throw new UserError(`${label}= is empty`);
    if (among && !among.includes(text)) throw new UserError(`${label}=${text}: use ${among.join(", ")}`);
    check?.(text);
    return text;
  }
  const number = Number(text);
  if (text.trim() === "" || !Number.isFinite(number))
    throw new UserError(`${label}=${text}: a number is needed`);
  if (number < min || number > max || (whole && !Number.isInteger(number))) {
    const range = max < Number.POSITIVE_INFINITY ? `from ${min} to ${max}` : `of at least ${min}`;
    throw new UserError(`${label}=${text}: ${whole ? "a whole number" : "a number"} ${range} is needed`);
  }
  return number;
}

export function help(): string {
  const lines = Object.entries<Option>(OPTIONS).map(([name, option]) => {
    const values = option.among ? `: ${option.among.join(", ")}` : "";
    const absent = option.absent ? ` [${option.absent}]` : "";
    return `  ${name.padEnd(19)}${option.help}${values}${absent}`;
  });
  return `usage: npm run generate -- "a description" ["another description" …] [key=value | --key value | --switch …]

${lines.join("\n")}

examples
  npm run generate -- "slow piano" "fast drums" duration=8 num_samples=2 out=music/
  npm run generate -- "a guitar joins" --prompt-audio intro.wav --prompt-duration 3 out=song.flac
  npm run --silent generate -- "slow piano" --stream | aplay
`;
}
