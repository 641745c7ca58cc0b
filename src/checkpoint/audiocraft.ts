/**
 * What AudioCraft writes of a model with torch.save: exports (`state_dict.bin`, `compression_state_dict.bin`: a state dict with the
 * config as YAML), pointers to published codecs, and the checkpoints of its training (`checkpoint.th`).
 */
import { type ComposedConfig, configFromYaml } from "../config/index.ts";
import { UserError } from "../errors.ts";
import type { WeightsReader } from "./safetensors.ts";
import { isTree, openTorchArchive, stateDictReader, TorchTensor, type TorchValue } from "./weights.ts";

export type AudiocraftPackage =
  /** The codec is a published one of this name. */
  { kind: "pointer"; pretrained: string } | { kind: "model"; config: ComposedConfig; weights: WeightsReader };

/** Whether a path ends as those of AudioCraft's files do. */
export function isAudiocraftFile(path: string): boolean {
  return /\.(bin|th|pt)$/.test(path);
}

/**
 * Opens a file. The weights are those of the best state where there is one (of a training with FSDP, that one), else of the last.
 * @throws UserError when it is damaged or none of these
 */
export function openAudiocraftPackage(path: string): AudiocraftPackage {
  const archive = openTorchArchive(path);
  try {
    const { value } = archive;
    if (!isTree(value)) throw new UserError(`${path}: a dict expected, as AudioCraft saves`);
    if (typeof value.pretrained === "string") {
      archive.close();
      return { kind: "pointer", pretrained: value.pretrained };
    }
    mergeConditionProvider(value);
    const at = bestState(value);
    if (at === null) {
      throw new UserError(
        `${path}: no model in it (best_state or model); it has ${Object.keys(value).join(", ")}`,
      );
    }
    return { kind: "model", config: configOf(path, value), weights: stateDictReader(archive, at) };
  } catch (error) {
    archive.close();
    throw error;
  }
}

/** Where the state dict is: flat in an export, per part in a checkpoint. */
function bestState(value: { [key: string]: TorchValue }): string[] | null {
  const places = [["fsdp_best_state", "model"], ["best_state", "model"], ["best_state"], ["model"]];
  const at = (place: string[]) =>
    place.reduce<TorchValue>((node, key) => (isTree(node) && key in node ? node[key] : null), value);
  return places.find((place) => holdsTensors(at(place))) ?? null;
}

/** Checkpoints of the first release have the conditioners' weights beside the model's. */
function mergeConditionProvider(value: { [key: string]: TorchValue }): void {
  const { condition_provider: provider, model } = value;
  if (!isTree(provider) || !isTree(model)) return;
  for (const [name, tensor] of Object.entries(provider)) model[`condition_provider.${name}`] ??= tensor;
}

function holdsTensors(value: TorchValue): boolean {
  return isTree(value) && Object.values(value).some((item) => item instanceof TorchTensor);
}

/** YAML in an export; in a checkpoint the pickled config of OmegaConf, which the reader has made plain. */
function configOf(path: string, value: { [key: string]: TorchValue }): ComposedConfig {
  const config = value["xp.cfg"];
  if (typeof config === "string") return configFromYaml(config, `${path} (xp.cfg)`);
  if (isTree(config)) return configFromYaml("{}").merged(config);
  throw new UserError(`${path} has no config inside (key "xp.cfg")`);
}
