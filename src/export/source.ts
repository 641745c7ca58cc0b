/** What is exported: a model that was loaded, with its config and where it came from. */
import { basename } from "node:path";
import type { Dtype, TypedArray } from "../checkpoint/dtypes.ts";
import type { TensorSource } from "../checkpoint/safetensors.ts";
import {
  asMusicGenConfig,
  type ComposedConfig,
  composeTrainConfig,
  type MusicGenConfig,
} from "../config/index.ts";
import { UserError } from "../errors.ts";
import { buildLM } from "../models/builders.ts";
import { T5Conditioner } from "../models/conditioners/t5.ts";
import { EncodecCompressionModel, loadCompressionModel } from "../models/encodec/index.ts";
import type { EncodecNetwork } from "../models/encodec/model.ts";
import type { MusicGenLM } from "../models/lm/lm.ts";
import type { T5Encoder } from "../models/t5/encoder.ts";
import { loadT5Encoder } from "../models/t5/load.ts";
import type { Parameter } from "../nn/index.ts";
import { locateModel } from "../solvers/resolve.ts";
import { openMusicGen } from "../solvers/trained.ts";
import { resolveDoraDir } from "../xp/folder.ts";
import { type TrainingRun, trainingRuns } from "./provenance.ts";

/** The floating types that files can have. */
export const DTYPES = { float32: "F32", float16: "F16", bfloat16: "BF16" } as const satisfies Record<
  string,
  Dtype
>;
export type DtypeName = keyof typeof DTYPES;

export interface CodecSource {
  kind: "codec";
  /** What it is called. */
  name: string;
  /** The runs that made it; [] for published ones. */
  runs: TrainingRun[];
  network: EncodecNetwork;
}

export interface MusicGenSource {
  kind: "musicgen";
  /** A run's signature, or the name of a published model. */
  name: string;
  epochs: number;
  /** What is known of its origin, for the model card. */
  provenance: Record<string, string>;
  /** The runs that made it; [] for published ones. */
  runs: TrainingRun[];
  /** Of its checkpoint; {} for published models. */
  metadata: Readonly<Record<string, string>>;
  config: ComposedConfig;
  cfg: MusicGenConfig;
  lm: MusicGenLM;
}

/** Loads the language model and its conditioners; codec and text encoder are for those formats that hold them. */
export async function loadMusicGenSource(name: string | null): Promise<MusicGenSource> {
  const found = await openMusicGen(name);
  try {
    const { config, signature, epochs, metadata } = found;
    const cfg = asMusicGenConfig(config);
    const lm = await buildLM(cfg);
    found.loadInto(lm);
    const commit = metadata.git_commit;
    const provenance = {
      file: basename(found.path),
      ...(commit && commit !== "unknown" ? { "git commit": commit } : {}),
    };
    const runs = trainingRuns(found.path, runFolder());
    return {
      kind: "musicgen",
      name: publicName(signature),
      epochs,
      provenance,
      runs,
      metadata,
      config,
      cfg,
      lm,
    };
  } finally {
    found.close();
  }
}

/** The codec that `spec` names, as configs do. @throws UserError when it isn't an EnCodec */
export async function loadCodecSource(spec: string, sampleRate?: number): Promise<CodecSource> {
  const codec = await loadCompressionModel(spec, { sampleRate });
  if (!(codec instanceof EncodecCompressionModel)) throw new UserError(`${spec} is not an EnCodec`);
  return { kind: "codec", name: publicName(spec), runs: runsOf(spec), network: codec.model };
}

function runsOf(codec: string): TrainingRun[] {
  if (codec.startsWith("//pretrained/")) return [];
  const location = locateModel(codec, runFolder());
  return location.kind === "checkpoint" ? trainingRuns(location.path, runFolder()) : [];
}

function runFolder(): string {
  return resolveDoraDir(composeTrainConfig([]));
}

/** The T5 of a model: the trained one inside, or the one that the config names. */
export async function textEncoderOf({ cfg, lm }: MusicGenSource, conditioner: string): Promise<T5Encoder> {
  const found = lm.conditionProvider.conditioners[conditioner];
  if (found instanceof T5Conditioner && found.t5 !== null) return found.t5;
  return await loadT5Encoder(t5NameOf(cfg, conditioner));
}

export function t5NameOf(cfg: MusicGenConfig, conditioner: string): string {
  return (cfg.conditioners![conditioner].t5 as { name: string }).name;
}

/** A parameter as a tensor to write. */
export function tensorOf(name: string, parameter: Parameter, dtype: Dtype): TensorSource {
  return { name, dtype, shape: parameter.shape, data: () => parameter.read() };
}

/** The rows of a parameter in equal parts, each under a name of its own. */
export function partsOf(names: readonly string[], parameter: Parameter, dtype: Dtype): TensorSource[] {
  const [rows, ...rest] = parameter.shape;
  const shape = [rows / names.length, ...rest];
  const size = parameter.size / names.length;
  const part = (i: number): TypedArray =>
    (parameter.read() as Float32Array).subarray(i * size, (i + 1) * size);
  return names.map((name, i) => ({ name, dtype, shape, data: () => part(i) }));
}

/** Folders of this machine stay out of what is handed on. */
function publicName(name: string): string {
  return /^[./~]/.test(name) && !name.startsWith("//") ? basename(name) : name.replace(/^\/\/\w+\//, "");
}
