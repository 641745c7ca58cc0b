/** Export to Hugging Face's layout, as transformers' `from_pretrained` loads it. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { TensorSource } from "../checkpoint/safetensors.ts";
import { UserError } from "../errors.ts";
import { hfName } from "../models/encodec/index.ts";
import type { EncodecNetwork } from "../models/encodec/model.ts";
import type { MusicGenLM } from "../models/lm/lm.ts";
import { hfNames } from "../models/pretrained/hf_names.ts";
import { writeFileAtomic } from "../xp/folder.ts";
import {
  encodecConfigJson,
  generationConfigJson,
  musicGenConfigJson,
  preprocessorConfigJson,
} from "./hf_config_json.ts";
import { encodecObstacles, musicGenObstacles } from "./hf_obstacles.ts";
import { codecCard, modelCard } from "./model_card.ts";
import { type OnProgress, writeShards } from "./sharded.ts";
import {
  type CodecSource,
  DTYPES,
  type DtypeName,
  loadCodecSource,
  type MusicGenSource,
  partsOf,
  t5NameOf,
  tensorOf,
  textEncoderOf,
} from "./source.ts";
import { copyTokenizer } from "./tokenizer.ts";

export interface ExportOptions {
  dtype: DtypeName;
  onProgress?: OnProgress;
  /** Told when the format computes otherwise than the model was trained with. */
  warn: (message: string) => void;
}

/** @throws UserError naming the options that transformers' class has no place for, before anything is written */
export async function exportHfMusicGen(
  source: MusicGenSource,
  folder: string,
  options: ExportOptions,
): Promise<void> {
  const { cfg, lm } = source;
  refuse(musicGenObstacles(cfg), "MusicGen");
  const codec = await loadCodecSource(cfg.compression_model_checkpoint, cfg.sample_rate);
  refuse(encodecObstacles(codec.network.options), "MusicGen");
  const text = await textEncoderOf(source, "description");
  const dtype = DTYPES[options.dtype];
  const channels = cfg.interleave_stereo_codebooks.use ? 2 : 1;
  const tensors = [
    ...text.namedParameters().map(([name, p]) => tensorOf(`text_encoder.${name}`, p, dtype)),
    ...codecTensors(codec.network, options.dtype, cfg.transformer_lm.n_q / channels, "audio_encoder."),
    ...lmTensors(lm, options.dtype),
  ];
  mkdirSync(folder, { recursive: true });
  const masked = cfg.transformer_lm.cross_attention_mask ?? false;
  if (!masked && cfg.fuser.cross.length > 0) {
    options.warn(
      "transformers hides the padding of texts from cross-attention, this model was trained with it in sight: batches of texts of " +
        "different lengths differ a little",
    );
  }
  const parts = { cfg, text: text.config, codec: codec.network.options, dtype: options.dtype };
  writeJson(folder, "config.json", musicGenConfigJson(parts));
  writeJson(folder, "generation_config.json", generationConfigJson(cfg, codec.network.frameRate));
  writeJson(folder, "preprocessor_config.json", preprocessorConfigJson(cfg));
  await copyTokenizer(t5NameOf(cfg, "description"), folder, options.warn);
  await writeShards(folder, tensors, options);
  writeFileAtomic(join(folder, "README.md"), modelCard(source));
}

export async function exportHfCodec(
  source: CodecSource,
  folder: string,
  options: ExportOptions,
): Promise<void> {
  const { network } = source;
  refuse(encodecObstacles(network.options), "EnCodec");
  const config = encodecConfigJson(network.options, network.totalCodebooks);
  mkdirSync(folder, { recursive: true });
  writeJson(folder, "config.json", {
    architectures: ["EncodecModel"],
    ...config,
    torch_dtype: options.dtype,
  });
  writeJson(folder, "preprocessor_config.json", {
    feature_extractor_type: "EncodecFeatureExtractor",
    feature_size: network.channels,
    sampling_rate: network.sampleRate,
    chunk_length_s: config.chunk_length_s,
    overlap: config.overlap,
    padding_side: "right",
    padding_value: 0,
    return_attention_mask: true,
  });
  await writeShards(folder, codecTensors(network, options.dtype, network.totalCodebooks), options);
  writeFileAtomic(join(folder, "README.md"), codecCard(source));
}

function lmTensors(lm: MusicGenLM, dtypeName: DtypeName): TensorSource[] {
  const dtype = DTYPES[dtypeName];
  const square = squareProjections(lm);
  return lm.namedParameters().flatMap(([name, parameter]) => {
    if (/^condition_provider\.conditioners\.description\.t5\./.test(name)) return []; // is the text encoder
    if (square.has(name)) return []; // their class has no projection then
    const names = hfNames(name);
    if (names === null) throw new UserError(`the Hugging Face layout has no place for the tensor ${name}`);
    return names.length === 1 ? [tensorOf(names[0], parameter, dtype)] : partsOf(names, parameter, dtype);
  });
}

/** Weights and biases of projections from conditions as wide as the model, which must be the identity. */
function squareProjections(lm: MusicGenLM): Set<string> {
  const parameters = new Map(lm.namedParameters());
  const found = new Set<string>();
  for (const [name, { shape }] of parameters) {
    if (!/\.output_proj\.weight$/.test(name) || shape[0] !== shape[1]) continue;
    const bias = name.replace(/weight$/, "bias");
    const isIdentity =
      (parameters.get(name)!.read() as Float32Array).every(
        (v, i) => v === (i % (shape[0] + 1) === 0 ? 1 : 0),
      ) && (parameters.get(bias)!.read() as Float32Array).every((v) => v === 0);
    if (!isIdentity) refuse([`${name}, as the condition is as wide as the model (${shape[0]})`], "MusicGen");
    found.add(name).add(bias);
  }
  return found;
}

/** The first `codebooks` of them. Of PyTorch's two names for the parts of a normed weight, the older: both are read there. */
function codecTensors(
  network: EncodecNetwork,
  dtype: DtypeName,
  codebooks: number,
  prefix = "",
): TensorSource[] {
  return network.namedParameters().flatMap(([name, parameter]) => {
    const index = /^quantizer\.vq\.layers\.(\d+)\./.exec(name)?.[1];
    if (index !== undefined && Number(index) >= codebooks) return [];
    return [tensorOf(prefix + hfName(name, false), parameter, DTYPES[dtype])];
  });
}

function refuse(obstacles: string[], what: string): void {
  if (obstacles.length === 0) return;
  throw new UserError(
    `the Hugging Face layout of ${what} has no place for ${obstacles.join(", ")}; ` +
      "--format audiocraft and --format safetensors have",
  );
}

function writeJson(folder: string, name: string, content: Record<string, unknown>): void {
  writeFileAtomic(join(folder, name), `${JSON.stringify(content, null, 2)}\n`);
}
