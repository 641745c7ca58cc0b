/** Whether a name given to `export` is that of a codec. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { isAudiocraftFile } from "../checkpoint/audiocraft.ts";
import { resolveHubFile } from "../checkpoint/hub.ts";
import { readJsonObject } from "../checkpoint/json.ts";
import { openSafetensors } from "../checkpoint/safetensors.ts";
import { composeTrainConfig, configFromYaml } from "../config/index.ts";
import { locateModel } from "../solvers/resolve.ts";
import { resolveDoraDir } from "../xp/folder.ts";

/** The name as `compression_model_checkpoint` has it, when it is a codec's; else null. */
export async function codecSpec(name: string): Promise<string | null> {
  if (name.startsWith("//embedded/")) return name;
  const location = locateModel(name, resolveDoraDir(composeTrainConfig([])));
  if (location.kind === "checkpoint") {
    if (!isCodecFile(location.path)) return null;
    return /^[0-9a-f]{2,8}$/.test(name) && !existsSync(name) ? `//sig/${name}` : name;
  }
  const { name: pretrained } = location;
  if (isAudiocraftFile(pretrained)) return /compression/.test(basename(pretrained)) ? pretrained : null;
  const config = await resolveHubFile(pretrained, "config.json", { optional: true });
  if (config === null || readJsonObject(config).model_type !== "encodec") return null;
  return existsSync(pretrained) ? pretrained : `//pretrained/${pretrained}`;
}

/** Our files of codecs say in their metadata how they are built; checkpoints have a whole config. */
function isCodecFile(path: string): boolean {
  const reader = openSafetensors(path);
  const { config, "xp.cfg": yaml } = reader.metadata;
  reader.close();
  if (yaml === undefined) return config !== undefined;
  return configFromYaml(yaml, `${path} (xp.cfg)`).get("solver") === "compression";
}
