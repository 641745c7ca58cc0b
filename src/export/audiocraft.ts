/** Export to AudioCraft's files: `state_dict.bin` and `compression_state_dict.bin`, as its `MusicGen.get_pretrained(folder)` loads them. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TorchWritable, writeTorchArchive } from "../checkpoint/torch/write.ts";
import { CONFIG_DIR, type ComposedConfig, configFromYaml, type MusicGenConfig } from "../config/index.ts";
import { UserError } from "../errors.ts";
import { T5_DIMS } from "../models/conditioners/t5.ts";
import type { EncodecOptions } from "../models/encodec/config.ts";
import type { T5Config } from "../models/t5/config.ts";
import type { Module } from "../nn/index.ts";
import { hannWindow } from "../nn/stft.ts";
import { encodecSections } from "./encodec_sections.ts";
import type { ExportOptions } from "./huggingface.ts";
import { chromaLength, chromaOf, hasMelody, segmentChromaLength } from "./melody.ts";
import {
  type CodecSource,
  DTYPES,
  type DtypeName,
  loadCodecSource,
  type MusicGenSource,
  t5NameOf,
  tensorOf,
  textEncoderOf,
} from "./source.ts";

type Json = Record<string, unknown>;

/** The release whose exports these are like. */
const VERSION = "1.4.0a2";

export async function exportAudiocraftMusicGen(
  source: MusicGenSource,
  folder: string,
  options: ExportOptions,
): Promise<void> {
  const { cfg } = source;
  const codec = await loadCodecSource(cfg.compression_model_checkpoint, cfg.sample_rate);
  const config = await audiocraftConfig(source, options.warn);
  if (cfg.transformer_lm.cross_attention_mask) {
    options.warn(
      "AudioCraft does not hide the padding of texts from cross-attention, as this model does: batches of texts of different " +
        "lengths differ a little",
    );
  }
  if (hasMelody(cfg) && chromaLength(cfg) !== segmentChromaLength(cfg)) {
    throw new UserError(
      `AudioCraft's melodies are as long as dataset.segment_duration, ${segmentChromaLength(cfg)} frames of chroma, and this model's ` +
        `are of chroma_length=${chromaLength(cfg)}; --format hf has the key`,
    );
  }
  mkdirSync(folder, { recursive: true });
  await writeTorchArchive(
    join(folder, "state_dict.bin"),
    exported({ ...stateDict(source.lm, options.dtype), ...windows(cfg) }, config.toYaml()),
    options,
  );
  await exportAudiocraftCodec(codec, folder, options, cfg.compression_model_checkpoint);
}

/** `spec`, a name of a published EnCodec, is exported as a pointer to it. */
export async function exportAudiocraftCodec(
  source: CodecSource,
  folder: string,
  options: ExportOptions,
  spec?: string,
): Promise<void> {
  const published = /^\/\/pretrained\/(facebook\/encodec_\w+)$/.exec(spec ?? "")?.[1];
  const value = published
    ? { pretrained: published, exported: true, version: VERSION }
    : exported(stateDict(source.network, options.dtype), codecYaml(source.network.options));
  mkdirSync(folder, { recursive: true });
  await writeTorchArchive(join(folder, "compression_state_dict.bin"), value, options);
}

function exported(bestState: { [key: string]: TorchWritable }, yaml: string): TorchWritable {
  return { best_state: bestState, "xp.cfg": yaml, version: VERSION, exported: true };
}

function stateDict(module: Module, dtype: DtypeName): { [key: string]: TorchWritable } {
  const entries = module.namedParameters().flatMap(([name, parameter]): [string, TorchWritable][] => {
    const { name: _, ...tensor } = tensorOf(name, parameter, DTYPES[dtype]);
    // T5's embeddings go by two names there
    const alias = name.replace(/\.t5\.shared\.weight$/, ".t5.encoder.embed_tokens.weight");
    return alias === name
      ? [[name, tensor]]
      : [
          [name, tensor],
          [alias, tensor],
        ];
  });
  return Object.fromEntries(entries);
}

/** The window of a chroma conditioner's spectrogram, which is a saved buffer there: Hann, periodic. */
function windows(cfg: MusicGenConfig): { [key: string]: TorchWritable } {
  if (!hasMelody(cfg)) return {};
  const { winlen, radix2_exp = 12 } = chromaOf(cfg);
  const size = winlen ?? 2 ** radix2_exp;
  const data = () => hannWindow(size);
  return {
    "condition_provider.conditioners.self_wav.chroma.spec.window": { dtype: "F32", shape: [size], data },
  };
}

/** The model's config without the keys that AudioCraft doesn't know, its T5 under its own name. */
async function audiocraftConfig(
  source: MusicGenSource,
  warn: (message: string) => void,
): Promise<ComposedConfig> {
  const plain = configFromYaml(source.config.toYaml()).toObject({ resolve: false });
  removeKeys(plain, configFromYaml(readFileSync(join(CONFIG_DIR, "runtime.yaml"), "utf8")).toObject());
  for (const key of ["cross_attention_mask"]) delete (plain.transformer_lm as Json)[key];
  const chroma = (plain.conditioners as Record<string, Json> | null)?.self_wav?.chroma_stem as
    | Json
    | undefined;
  for (const key of ["chroma_length", "stem_separator"]) delete chroma?.[key];
  const fuser = plain.fuser as Json;
  if ((fuser.ignore as unknown[] | undefined)?.length === 0) delete fuser.ignore;
  for (const [name, section] of Object.entries((plain.conditioners ?? {}) as Record<string, Json>)) {
    if (section?.model !== "t5") continue;
    const known = t5NameOf(source.cfg, name);
    if (T5_DIMS[known] !== undefined) continue;
    const alike = standardT5((await textEncoderOf(source, name)).config);
    if (alike === null) {
      throw new UserError(
        `AudioCraft loads text encoders by name, and conditioners.${name} has none of those that it knows; ` +
          "--format hf holds the encoder",
      );
    }
    warn(`conditioners.${name}: AudioCraft will load the text encoder ${alike}, whose shape it has`);
    (section.t5 as Json).name = alike;
  }
  return configFromYaml("{}").merged(plain);
}

function removeKeys(from: Json, ours: Json): void {
  for (const [key, value] of Object.entries(ours)) {
    const inner = from[key];
    if (isSection(value) && isSection(inner)) removeKeys(inner, value);
    else delete from[key];
  }
}

function isSection(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The published T5 of this shape. */
function standardT5({ dModel, numLayers, feedForward }: T5Config): string | null {
  const size = (
    { "512/6": "small", "512/8": "small", "768/12": "base", "1024/24": "large" } as Record<string, string>
  )[`${dModel}/${numLayers}`];
  if (size === undefined) return null;
  return feedForward === "relu" ? `t5-${size}` : `google/flan-t5-${size}`;
}

function codecYaml(options: EncodecOptions): string {
  const { sampleRate, channels } = options;
  const common = { compression_model: "encodec", device: "cpu", sample_rate: sampleRate, channels };
  return configFromYaml("{}")
    .merged({ ...common, ...encodecSections(options) })
    .toYaml();
}
