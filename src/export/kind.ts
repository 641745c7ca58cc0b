/** Whether a name given to `export` is that of a codec. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { isAudiocraftFile } from "../checkpoint/audiocraft.ts";
import { resolveHubFile } from "../checkpoint/hub.ts";
import { readJsonObject } from "../checkpoint/json.ts";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { pretrainedName } from "../models/pretrained/index.ts";

/** The name as `compression_model_checkpoint` has it, when it is a codec's; else null. */
export async function codecSpec(name: string): Promise<string | null> {
  if (name.startsWith("//embedded/")) return name;
  if (existsSync(name) && name.endsWith(".safetensors")) return isCodecFile(name) ? name : null;
  const pretrained = pretrainedName(name);
  if (pretrained === null) return null;
  if (isAudiocraftFile(pretrained)) return /compression/.test(basename(pretrained)) ? pretrained : null;
  const config = await resolveHubFile(pretrained, "config.json", { optional: true });
  if (config === null || readJsonObject(config).model_type !== "encodec") return null;
  return existsSync(pretrained) ? pretrained : `//pretrained/${pretrained}`;
}

/** Our files of codecs say in their metadata how they are built; checkpoints have a whole config. */
function isCodecFile(path: string): boolean {
  const reader = openSafetensors(path);
  const { config } = reader.metadata;
  reader.close();
  return config !== undefined;
}
