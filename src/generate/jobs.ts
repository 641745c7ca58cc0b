/** What is to be generated: one job per sample, from the command line and the file of prompts, in batches. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { UserError } from "../errors.ts";
import { type Arguments, type Options, parseValue } from "./arguments.ts";

export interface Job {
  /** null is unconditional. */
  description: string | null;
  seed: number;
  /** Seconds; null is the model's. */
  duration: number | null;
  melody: string | null;
  promptAudio: string | null;
  promptDuration: number | null;
  /** File or folder. */
  out: string;
  /** Samples that share `out`, and which of them this is. */
  count: number;
  index: number;
}

/** One job per sample that is asked for. @throws UserError when nothing or nonsense is asked for */
export function plannedJobs({ descriptions, options }: Arguments): Job[] {
  if (options.unconditional && (descriptions.length > 0 || options.prompts))
    throw new UserError("unconditional=true takes no descriptions");
  const lines: Line[] = [
    ...descriptions.map((description) => ({ description })),
    ...(options.prompts ? readPrompts(options.prompts) : []),
  ];
  if (lines.length === 0) lines.push({ description: null });
  const out = options.out ?? (options.stream ? "-" : "samples");
  const all = lines.flatMap((line) => {
    const samples = line.num_samples ?? options.num_samples ?? 1;
    const seed = line.seed ?? options.seed ?? 0;
    return Array.from({ length: samples }, (_, n) => ({
      description: line.description,
      seed: (seed + n) % 2 ** 31,
      duration: line.duration ?? options.duration ?? null,
      melody: line.melody ?? options.melody ?? null,
      promptAudio: line.prompt_audio ?? options.prompt_audio ?? null,
      promptDuration: line.prompt_duration ?? options.prompt_duration ?? null,
      out: line.out ?? out,
    }));
  });
  const seen = new Map<string, number>();
  return all.map((job) => {
    const index = seen.get(job.out) ?? 0;
    seen.set(job.out, index + 1);
    return { ...job, index, count: all.filter((other) => other.out === job.out).length };
  });
}

/** Jobs that can be generated together (equal durations and prompts), at most `size` of them, in their order. */
export function batches(jobs: readonly Job[], size: number): Job[][] {
  const groups = new Map<string, Job[]>();
  for (const job of jobs) {
    const key = JSON.stringify([job.duration, job.promptAudio, job.promptDuration]);
    groups.set(key, [...(groups.get(key) ?? []), job]);
  }
  return [...groups.values()].flatMap((group) =>
    Array.from({ length: Math.ceil(group.length / size) }, (_, i) => group.slice(i * size, (i + 1) * size)),
  );
}

const LINE_OPTIONS = [
  "duration",
  "seed",
  "num_samples",
  "melody",
  "prompt_audio",
  "prompt_duration",
  "out",
] as const;

type Line = { description: string | null } & Pick<Options, (typeof LINE_OPTIONS)[number]>;

/**
 * A description per line; a line that begins with { is JSON. Empty lines are left out. Audio files are looked for beside the
 * file of prompts.
 */
function readPrompts(path: string): Line[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UserError(`prompts=${path}: ${(error as Error).message}`);
  }
  const lines = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const prompts = lines.flatMap((line, i) => {
    if (line.trim() === "") return [];
    if (!line.trimStart().startsWith("{")) return [{ description: line.trim() }];
    return [parseLine(line, `${path}, line ${i + 1}`, dirname(resolve(path)))];
  });
  if (prompts.length === 0) throw new UserError(`prompts=${path}: no description in it`);
  return prompts;
}

function parseLine(line: string, place: string, folder: string): Line {
  let values: Record<string, unknown>;
  try {
    values = JSON.parse(line);
  } catch (error) {
    throw new UserError(`${place}: ${(error as Error).message}`);
  }
  const { description = null, ...rest } = values;
  if (description !== null && typeof description !== "string")
    throw new UserError(`${place}: description must be a text or null`);
  const parsed: Record<string, unknown> = { description };
  for (const [key, value] of Object.entries(rest)) {
    const name = LINE_OPTIONS.find((known) => known === key);
    if (!name)
      throw new UserError(`${place}: ${key} is unknown; known: description, ${LINE_OPTIONS.join(", ")}`);
    if (value === null) continue;
    const read = parseValue(name, String(value), `${place}: ${name}`);
    parsed[name] = name === "melody" || name === "prompt_audio" ? resolve(folder, String(read)) : read;
  }
  return parsed as Line;
}
