/**
 * Writes a Hugging Face hub cache with randomly initialised models of given shapes, laid out and named as the hub's, so that
 * runs on published models can be tried without them:
 *
 *     node --import tsx test/fake_hub.ts FOLDER SPIECE_MODEL     # the true sizes of encodec_32khz and t5-base; then
 *     HF_HUB_CACHE=FOLDER npm run train -- solver=musicgen/musicgen_base_32khz …
 */
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { writeSafetensors } from "../src/checkpoint/safetensors.ts";
import { buildHfEncodec } from "../src/models/encodec/config.ts";
import { hfName } from "../src/models/encodec/weights.ts";
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

/** Small random values: enough to run on. */
async function writeWeights(folder: string, module: Module, rename: (name: string) => string): Promise<void> {
  let seed = 1;
  const draw = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 31 - 1;
  };
  const tensors = module.namedParameters().map(([name, { shape, size }]) => {
    const scale = /weight_g$|layer_norm|inited|cluster_size/.test(name)
      ? 0
      : 0.7 / Math.sqrt(shape.at(-1) ?? 1);
    return {
      name: rename(name),
      dtype: "F32" as const,
      shape,
      data: () => Float32Array.from({ length: size }, () => (scale === 0 ? 1 : scale * draw())),
    };
  });
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder, spieceModel] = process.argv.slice(2);
  writeFakeHub(folder, encodec32khz, t5Base, spieceModel).then(() => console.log(`wrote ${folder}`));
}
