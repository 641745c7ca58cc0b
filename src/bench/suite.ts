/** The benchmarks: what each measures, by which programs, how its work is counted, and what it is to reach. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { CONFIG_DIR } from "../config/train-config.ts";
import type { WeightType } from "../nn/weight_types.ts";
import { benchFiles } from "./data_files.ts";
import { ourProgram, type Program, peerProgram } from "./programs.ts";
import type { Request } from "./request.ts";
import {
  CODEC_SECONDS,
  CONFIG_OVERRIDES,
  DEFAULT_RUN,
  GENERATION,
  type ModelSize,
  type Precision,
  SEGMENT,
  SIZES,
  type SizeName,
  T5_BATCH,
  TEXT,
} from "./sizes.ts";
import { codecWork, generationWork, t5Work, trainingWork, type Work } from "./work.ts";

/** What bounds a rate: the product rate in a precision, or the rate of reading memory. */
export type Limit = Precision | "read";

/** One thing to be measured by one or more programs in turn. */
export interface Case {
  /** Of the language model; null where there is only one size. */
  size: SizeName | null;
  /** Beside the size: a precision, a file format. */
  variant: string;
  programs: Program[];
  /** By series. Series that are not here have no rates. */
  work: Record<string, Work>;
  /** Which of the rates the hardware bounds, and by what. */
  limit: { rate: string; by: Limit } | null;
  /** How many times as fast as the peer each series is to be. */
  goals: Record<string, number>;
  /** Seconds that each series may take. */
  bounds: Record<string, number>;
  /** What a reader of the figures has to know. */
  notes: string[];
}

export interface CaseOptions {
  sizes: SizeName[];
  precisions: Precision[];
  formats: readonly ("wav" | "flac" | "mp3" | "ogg")[];
  workers: number;
  segments: number;
  /** Runs of each program in each round. */
  runs: number;
  /** The peers' Python; null: only ours is measured. */
  peer: string | null;
}

export interface Benchmark {
  /** A line that says what is measured. */
  about: string;
  /** Further names that it goes by. */
  aliases: string[];
  /** What the series are called in tables. */
  series: Record<string, string>;
  /** Whether it can be had in the sizes of the language model. */
  hasSizes: boolean;
  cases: (options: CaseOptions) => Promise<Case[]>;
}

const { batch, frames, rows } = GENERATION;
const CHECKPOINTING = ["xformers_mm", "torch"];
const BYTES: Record<WeightType, number> = { float32: 4, bfloat16: 2, int8: 1 };

export const BENCHMARKS: Record<string, Benchmark> = {
  train: {
    about: "training step: forward, backward, clipping, AdamW",
    aliases: ["train-step", "train_step", "training"],
    series: { step: "step" },
    hasSizes: true,
    cases: async (options) => {
      const plain = bySizeAndPrecision(options, (size, precision) => {
        const model = SIZES[size];
        const { request, peer } = measured(options, { what: "train", precision, model });
        return {
          programs: [ourProgram(request), ...peer("AudioCraft", "train_step.py", modelOptions(model))],
          work: { step: trainingWork(model) },
          limit: { rate: "GFLOP/s without input embeddings", by: precision },
          goals: { step: precision === "fp32" ? 1.5 : 1.3 },
        };
      });
      // What activation checkpointing costs and saves; the peer's is another implementation of the same.
      const checkpointed = options.sizes.flatMap((size) =>
        CHECKPOINTING.map((checkpointing): Case => {
          const model = SIZES[size];
          const { request } = measured({ ...options, peer: null }, { what: "train", model, checkpointing });
          return {
            ...NOTHING,
            size,
            variant: `fp32, checkpointing=${checkpointing}`,
            programs: [ourProgram(request)],
            work: { step: trainingWork(model) },
          };
        }),
      );
      return [...plain, ...(options.precisions.includes("fp32") ? checkpointed : [])];
    },
  },
  generate: {
    about: `generation of ${frames} frames with guidance (${rows} rows), top-k ${GENERATION.topK}`,
    aliases: ["generation"],
    series: { generate: `${frames} frames`, "first audio": "to the first audio when streamed (0.2 s of it)" },
    hasSizes: true,
    cases: async (options) => {
      const generated = (size: SizeName, precision: Precision, weights: WeightType): Part => {
        const model = { ...SIZES[size], batch };
        const { request, peer } = measured(options, { what: "generate", precision, model, weights });
        const argv = { ...modelOptions(model), frames };
        const peers = [
          ...peer("AudioCraft", "generate.py", argv),
          ...peer("transformers", "generate.py", { ...argv, impl: "transformers" }),
        ];
        return {
          programs: [ourProgram(request), ...(weights === "int8" ? [] : peers)],
          work: { generate: generationWork(model, frames, BYTES[weights]) },
          limit: { rate: "GB/s of weights", by: "read" },
          goals: only(size === "small" && weights !== "int8", { generate: precision === "fp32" ? 3 : 2 }),
          bounds: only(size === "bench", { "first audio": 1 }),
        };
      };
      return [
        ...bySizeAndPrecision(options, (size, precision) =>
          generated(size, precision, precision === "bf16" ? "bfloat16" : "float32"),
        ),
        // The peers have no such weights.
        ...options.sizes.map((size) => ({
          ...NOTHING,
          size,
          variant: "int8 weights",
          ...generated(size, "fp32", "int8"),
        })),
      ];
    },
  },
  codec: {
    about: `EnCodec 32 kHz on ${CODEC_SECONDS} s of audio`,
    aliases: ["encodec"],
    series: { encode: "encode", decode: "decode" },
    hasSizes: false,
    cases: async (options) =>
      byPrecision(options, (precision) => {
        const { request, peer } = measured(options, { what: "codec", precision });
        const argv = { seconds: CODEC_SECONDS };
        const audiocraft = { ...argv, impl: "audiocraft", "config-dir": CONFIG_DIR };
        return {
          programs: [
            ourProgram(request),
            ...peer("transformers", "codec.py", argv),
            ...peer("AudioCraft", "codec.py", audiocraft),
          ],
          work: codecWork(),
          limit: { rate: "GFLOP/s", by: precision },
          goals: { encode: 1.5, decode: 1.5 },
        };
      }),
  },
  t5: {
    about: `T5-base's encoder on ${T5_BATCH.batch} texts of ${T5_BATCH.tokens} tokens`,
    aliases: ["text"],
    series: { encode: "encode" },
    hasSizes: false,
    cases: async (options) =>
      byPrecision(options, (precision) => {
        const { request, peer } = measured(options, { what: "t5", precision });
        return {
          programs: [ourProgram(request), ...peer("transformers", "t5.py", T5_BATCH)],
          work: { encode: t5Work() },
          limit: { rate: "GFLOP/s", by: precision },
        };
      }),
  },
  data: {
    about: `loader: 30 s files at 44.1 kHz in stereo to ${SEGMENT.seconds} s at 32 kHz in mono`,
    aliases: ["dataloader", "loader"],
    series: { read: "segments" },
    hasSizes: false,
    cases: async (options) => {
      const { workers, segments, runs } = options;
      const cases: Case[] = [];
      for (const format of options.formats) {
        const manifest = await benchFiles(format);
        const { request, peer } = measured(options, { what: "data", data: { manifest, workers, segments } });
        const argv = { workers, segments, batch: SEGMENT.batch, manifest, runs };
        const perRun = Math.ceil(segments / SEGMENT.batch) * SEGMENT.batch;
        cases.push({
          ...NOTHING,
          variant: format,
          programs: [ourProgram(request), ...peer("AudioCraft", "data.py", argv)],
          work: { read: { "segments/s": perRun } },
        });
      }
      return cases;
    },
  },
  start: {
    about: "from the command line to the first result of the tiny default",
    aliases: ["startup", "start-up"],
    series: { train: "first training step", generate: "1 s of audio" },
    hasSizes: false,
    cases: async (options) => {
      const { request, peer } = measured(options, { what: "start" });
      return [
        {
          ...NOTHING,
          programs: [ourProgram(request), ...peer("AudioCraft", "start.py", modelOptions(DEFAULT_RUN))],
          bounds: { train: 6, generate: 4 },
          notes: [
            "Ours are npm run train and npm run generate, which compose a config and read data or a checkpoint; the peer builds its model directly",
          ],
        },
      ];
    },
  },
  config: {
    about: `composing ${CONFIG_OVERRIDES.join(" ")}`,
    aliases: ["compose"],
    series: { compose: "composed, once loaded", command: "the command that prints it" },
    hasSizes: false,
    cases: async (options) => {
      const { request, peer } = measured(options, { what: "config" });
      const argv = { "config-dir": CONFIG_DIR, overrides: CONFIG_OVERRIDES.join(" ") };
      return [{ ...NOTHING, programs: [ourProgram(request), ...peer("Hydra", "config.py", argv)] }];
    },
  },
};

const NOTHING: Case = {
  size: null,
  variant: "",
  programs: [],
  work: {},
  limit: null,
  goals: {},
  bounds: {},
  notes: [],
};

/** Programs that measure the hardware's limits in a precision. */
export function hardwarePrograms(options: CaseOptions, precision: Precision): Program[] {
  const { request, peer } = measured(options, { what: "hardware", precision });
  return [ourProgram(request), ...peer("PyTorch", "hardware.py", {})];
}

function only(applies: boolean, values: Record<string, number>): Record<string, number> {
  return applies ? values : {};
}

type Part = Partial<Case> & Pick<Case, "programs" | "work">;

function bySizeAndPrecision(
  { sizes, precisions }: CaseOptions,
  build: (size: SizeName, precision: Precision) => Part,
): Case[] {
  return sizes.flatMap((size) =>
    precisions.map((precision) => ({ ...NOTHING, size, variant: precision, ...build(size, precision) })),
  );
}

function byPrecision({ precisions }: CaseOptions, build: (precision: Precision) => Part): Case[] {
  return precisions.map((precision) => ({ ...NOTHING, variant: precision, ...build(precision) }));
}

/** A request of ours, and the peer's script with the same runs, threads and precision, if there is a peer. */
function measured(options: CaseOptions, wanted: Partial<Request> & Pick<Request, "what">) {
  const request: Request = {
    precision: "fp32",
    model: DEFAULT_RUN,
    frames,
    data: { manifest: "", workers: 0, segments: 0 },
    runs: options.runs,
    warmup: wanted.what === "train" ? 2 : 1,
    ...wanted,
  };
  const { precision, runs, warmup } = request;
  const common = { precision, runs, warmup, threads: availableParallelism() };
  const peer = (name: string, script: string, argv: Record<string, string | number>) =>
    options.peer === null ? [] : [peerProgram(name, options.peer, script, { ...common, ...argv })];
  return { request, peer };
}

function modelOptions({ dim, layers, heads, card, batch, frames }: ModelSize): Record<string, number> {
  return { dim, layers, heads, card, batch, frames, positions: TEXT.positions };
}

/** A benchmark by any of its names; null when there is none. */
export function benchmarkNamed(name: string): string | null {
  const found = Object.entries(BENCHMARKS).find(
    ([own, { aliases }]) => own === name || aliases.includes(name),
  );
  return found?.[0] ?? null;
}

/** Where results and figures are kept, from the checkout's root. */
export const RESULTS_FOLDER = join("bench", "results");
