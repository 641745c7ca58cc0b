/** Published language models, and those of other programs: Hugging Face's layout and AudioCraft's files. */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { isAudiocraftFile } from "../../checkpoint/audiocraft.ts";
import { resolveHubFile } from "../../checkpoint/hub.ts";
import { readJsonObject } from "../../checkpoint/json.ts";
import type { ComposedConfig } from "../../config/index.ts";
import { UserError } from "../../errors.ts";
import type { MusicGenLM } from "../lm/lm.ts";
import { openAudiocraftMusicGen } from "./audiocraft.ts";
import { openHfMusicGen } from "./hf.ts";

export { loadHfWeights } from "./hf.ts";
export { hfFrames } from "./hf_frames.ts";

/** A trained language model that has been found, but not loaded. */
export interface PretrainedModel {
  /** What it is called: a repository, a folder or a file. */
  name: string;
  /** Where its weights are. */
  path: string;
  /** Describes language model, conditioners and codec, wherever it came from. */
  config: ComposedConfig;
  /** Copies the weights into a model that was built from such a config. @throws UserError listing what doesn't fit */
  loadInto(lm: MusicGenLM): void;
  close(): void;
}

/** Short names of published models, as AudioCraft accepts `small`. */
const SHORT_NAME = /^(musicgen-)?((stereo-)?(small|medium|large|melody(-large)?)|style)$/;

/**
 * The repository, or the absolute path, that a name of a published or foreign model means; null when it is none:
 * `//pretrained/org/name`, `org/name`, a short name (`small`, `stereo-melody`), a folder, or a file of AudioCraft's.
 */
export function pretrainedName(name: string): string | null {
  const wanted = name.replace(/^\/\/pretrained\//, "");
  if (wanted === name && name.startsWith("//")) return null;
  if (existsSync(wanted)) {
    const path = resolve(wanted);
    return statSync(path).isDirectory() || isAudiocraftFile(path) ? path : null;
  }
  const short = SHORT_NAME.exec(wanted);
  if (short) return `facebook/musicgen-${short[2]}`;
  return /^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(wanted) &&
    !wanted.endsWith(".safetensors") &&
    !isAudiocraftFile(wanted)
    ? wanted
    : null;
}

/**
 * Opens what `pretrainedName` gave. A repository that holds both layouts is read in Hugging Face's; one without a config.json of
 * a MusicGen (facebook/musicgen-style) in AudioCraft's.
 * @throws UserError when it is neither
 */
export async function openPretrained(name: string): Promise<PretrainedModel> {
  const model = (await openHfMusicGen(name)) ?? (await openAudiocraftMusicGen(name));
  if (model !== null) return model;
  const config = await resolveHubFile(name, "config.json"); // says where to put it, when it is missing
  const type = JSON.stringify(readJsonObject(config).model_type) ?? "unknown";
  throw new UserError(
    `${name} is no MusicGen: its config.json is of model_type ${type}, and it has no state_dict.bin`,
  );
}
