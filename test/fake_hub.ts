/**
 * Writes a Hugging Face hub cache with randomly initialised models of given shapes, laid out and named as the hub's, so that
 * runs on published models can be tried without them:
 *
 *     node --import tsx test/fake_hub.ts FOLDER SPIECE_MODEL     # the true sizes of encodec_32khz and t5-base; then
 *     HF_HUB_CACHE=FOLDER npm run train -- solver=musicgen/musicgen_base_32khz …
 *     node --import tsx test/fake_hub.ts FOLDER SPIECE_MODEL small     # and facebook/musicgen-small (2.3 GB); or medium, large
 *     HF_HUB_CACHE=FOLDER npm run generate -- "a description" model=facebook/musicgen-small duration=1
 */
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type TensorSource, writeSafetensors } from "../src/checkpoint/safetensors.ts";
import { asMusicGenConfig } from "../src/config/index.ts";
import { buildLM } from "../src/models/builders.ts";
import { buildHfEncodec } from "../src/models/encodec/config.ts";
import { hfName } from "../src/models/encodec/weights.ts";
import { hfMusicGenConfig } from "../src/models/pretrained/hf_config.ts";
import { hfNames } from "../src/models/pretrained/hf_names.ts";
import { parseT5Config } from "../src/models/t5/config.ts";
import { T5Encoder } from "../src/models/t5/encoder.ts";
import { InitializerStream, type Module } from "../src/nn/index.ts";

type Config = Record<string, unknown>;

/** facebook/encodec_32khz */
export const encodec32khz: Config = {
  model_type: "encodec",
  audio_channels: 1,
  chunk_length_s: null,
  codebook_dim: 128,
  codebook_size: 2048,
  compress: 2,
  dilation_growth_rate: 2,
  hidden_size: 128,
  kernel_size: 7,
  last_kernel_size: 7,
  norm_type: "weight_norm",
  normalize: false,
  num_filters: 64,
  num_lstm_layers: 2,
  num_residual_layers: 1,
  overlap: null,
  pad_mode: "reflect",
  residual_kernel_size: 3,
  sampling_rate: 32000,
  target_bandwidths: [2.2],
  trim_right_ratio: 1,
  upsampling_ratios: [8, 5, 4, 4],
  use_causal_conv: false,
  use_conv_shortcut: false,
};

export const t5Base: Config = {
  model_type: "t5",
  vocab_size: 32128,
  d_model: 768,
  d_kv: 64,
  d_ff: 3072,
  num_layers: 12,
  num_heads: 12,
};

/** Writes `facebook/encodec_32khz` and `t5-base` (with the given tokenizer) of these shapes into a hub cache. */
export async function writeFakeHub(
  folder: string,
  encodec: Config,
  t5: Config,
  spieceModel: string,
): Promise<void> {
  const codec = buildHfEncodec(encodec, new InitializerStream(1));
  const codecFolder = snapshot(folder, "facebook/encodec_32khz", encodec);
  await writeWeights(codecFolder, codec, (name) => hfName(name, false));
  const encoder = new T5Encoder(parseT5Config(t5, "t5"));
  const t5Folder = snapshot(folder, "t5-base", t5);
  await writeWeights(t5Folder, encoder, (name) => name);
  copyFileSync(spieceModel, join(t5Folder, "spiece.model"));
}

/** The decoders of facebook/musicgen-*. */
const decoders: Record<string, Config> = {
  small: { hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, ffn_dim: 4096 },
  medium: { hidden_size: 1536, num_hidden_layers: 48, num_attention_heads: 24, ffn_dim: 6144 },
  large: { hidden_size: 2048, num_hidden_layers: 48, num_attention_heads: 32, ffn_dim: 8192 },
};

/** Writes `facebook/musicgen-<size>` of its true shape, text encoder, codec and tokenizer in it. */
export async function writeFakeMusicGen(folder: string, size: string, spieceModel: string): Promise<void> {
  const decoder = { vocab_size: 2048, num_codebooks: 4, audio_channels: 1, ...decoders[size] };
  const config: Config = {
    model_type: "musicgen",
    text_encoder: t5Base,
    audio_encoder: encodec32khz,
    decoder,
  };
  const repository = snapshot(folder, `facebook/musicgen-${size}`, config);
  const generation = { do_sample: true, guidance_scale: 3, max_length: 1500 };
  writeFileSync(join(repository, "generation_config.json"), JSON.stringify(generation));
  copyFileSync(spieceModel, join(repository, "spiece.model"));
  // the conditioners are built with the T5 of the folder, so that comes first, alone
  const encoder = new T5Encoder(parseT5Config(t5Base, "t5"));
  const codec = buildHfEncodec(encodec32khz, new InitializerStream(1));
  const text = randomTensors(encoder, (name) => [`text_encoder.${name}`]);
  await writeSafetensors(join(repository, "model.safetensors"), text);
  const path = join(repository, "config.json");
  const cfg = asMusicGenConfig(hfMusicGenConfig(config, generation, { repository, path }));
  const lm = await buildLM(cfg);
  await writeSafetensors(join(repository, "model.safetensors"), [
    ...text,
    ...randomTensors(codec, (name) => [`audio_encoder.${hfName(name, false)}`]),
    ...randomTensors(lm, (name) => hfNames(name)!),
  ]);
}

function snapshot(folder: string, repository: string, config: Config): string {
  const root = join(folder, `models--${repository.replace("/", "--")}`);
  const commit = "0123456789abcdef0123456789abcdef01234567";
  const path = join(root, "snapshots", commit);
  mkdirSync(path, { recursive: true });
  mkdirSync(join(root, "refs"), { recursive: true });
  writeFileSync(join(root, "refs", "main"), commit);
  writeFileSync(join(path, "config.json"), JSON.stringify(config, null, 2));
  return path;
}

async function writeWeights(folder: string, module: Module, rename: (name: string) => string): Promise<void> {
  await writeSafetensors(
    join(folder, "model.safetensors"),
    randomTensors(module, (name) => [rename(name)]),
  );
}

/** Small random values: enough to run on. A parameter that goes by several names is divided among them. */
function randomTensors(module: Module, rename: (name: string) => string[]): TensorSource[] {
  let seed = 1;
  const draw = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 31 - 1;
  };
  return module.namedParameters().flatMap(([name, { shape, size }]) => {
    const scale = /weight_g$|norm.*weight$|inited|cluster_size/.test(name)
      ? 0
      : 0.7 / Math.sqrt(shape.at(-1) ?? 1);
    const names = rename(name);
    const part = size / names.length;
    return names.map((renamed) => ({
      name: renamed,
      dtype: "F32" as const,
      shape: [shape[0] / names.length, ...shape.slice(1)],
      data: () => Float32Array.from({ length: part }, () => (scale === 0 ? 1 : scale * draw())),
    }));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder, spieceModel, size] = process.argv.slice(2);
  const written = size
    ? writeFakeMusicGen(folder, size, spieceModel)
    : writeFakeHub(folder, encodec32khz, t5Base, spieceModel);
  written.then(() => console.log(`wrote ${folder}`));
}
