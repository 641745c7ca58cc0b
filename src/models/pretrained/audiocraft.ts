/** Language models as AudioCraft saves them: exported for release, or as checkpoints of its training. */
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { isAudiocraftFile, openAudiocraftPackage } from "../../checkpoint/audiocraft.ts";
import { resolveHubFile } from "../../checkpoint/hub.ts";
import type { WeightsReader } from "../../checkpoint/safetensors.ts";
import { UserError } from "../../errors.ts";
import { loadState, type Module } from "../../nn/index.ts";
import { audiocraftMusicGenConfig } from "./audiocraft_config.ts";
import type { PretrainedModel } from "./index.ts";

const LM_FILE = "state_dict.bin";
const CODEC_FILE = "compression_state_dict.bin";
const CHECKPOINT = "checkpoint.th";

/**
 * Opens a file, or the one that a folder or repository holds (`state_dict.bin`, or a folder's `checkpoint.th`). The codec is that of
 * `compression_state_dict.bin` beside it, or else the one that the config names.
 * @returns null when a folder or repository has no such file
 * @throws UserError when the file is damaged or holds another model
 */
export async function openAudiocraftMusicGen(name: string): Promise<PretrainedModel | null> {
  const path = await locate(name, LM_FILE);
  if (path === null) return null;
  const found = openAudiocraftPackage(path);
  if (found.kind === "pointer")
    throw new UserError(`${path}: a pointer to the codec ${found.pretrained}, no MusicGen`);
  const { weights } = found;
  try {
    const codec = await locate(isAudiocraftFile(name) ? dirname(path) : name, CODEC_FILE);
    return {
      name,
      path,
      config: audiocraftMusicGenConfig(found.config, { path, codec }),
      loadInto: (lm) => loadAudiocraftWeights(lm, weights),
      close: () => weights.close(),
    };
  } catch (error) {
    weights.close();
    throw error;
  }
}

async function locate(name: string, file: string): Promise<string | null> {
  if (isAbsolute(name) && isAudiocraftFile(name)) return name;
  const exported = await resolveHubFile(name, file, { optional: true });
  if (exported !== null || !isAbsolute(name) || file !== LM_FILE) return exported;
  const checkpoint = join(name, CHECKPOINT);
  return existsSync(checkpoint) ? checkpoint : null;
}

/** Copies the weights, whose names are ours but for what depends on the kind of attention. */
export function loadAudiocraftWeights(lm: Module, weights: WeightsReader): void {
  loadState(lm, weights, {
    rename: (name) => [name, withoutMha(name), withMha(name)].find((known) => weights.has(known)) ?? name,
    ignore: isComputed,
  });
}

/** PyTorch's own attention, which models without `custom` and `memory_efficient` have, is one level deeper. */
function withMha(name: string): string {
  return name.replace(/(\.(?:self_attn|cross_attention)\.)(?!mha\.)/, "$1mha.");
}

function withoutMha(name: string): string {
  return name.replace(".mha.", ".");
}

/** Tables that are saved there and computed here, and the frozen text encoder of some training checkpoints. */
function isComputed(name: string): boolean {
  return (
    /\.rope\.frequencies$/.test(name) ||
    /^condition_provider\.conditioners\.\w+\.(chroma\.|t5\.)/.test(name) ||
    /^(cfg_dropout|att_dropout|fuser)\./.test(name)
  );
}
