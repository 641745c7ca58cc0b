/** Language models in Hugging Face's layout: folders and repositories of MusicGen, stereo and melody included. */
import { isAudiocraftFile } from "../../checkpoint/audiocraft.ts";
import { openHubWeights, resolveHubFile } from "../../checkpoint/hub.ts";
import { readJsonObject } from "../../checkpoint/json.ts";
import { loadState, type Module, type TensorSource } from "../../nn/index.ts";
import { hfMusicGenConfig, MODEL_TYPES } from "./hf_config.ts";
import { DECODER_PREFIX, hfNames, isOtherPart } from "./hf_names.ts";
import type { PretrainedModel } from "./index.ts";

/**
 * Opens `repository` ("org/name" or the absolute path of a folder): its config is read, its weights are checked and copied when
 * `loadInto` is called, tensor by tensor.
 * @returns null when it has no config.json of a MusicGen
 * @throws UserError when a file is missing, damaged or describes what isn't built
 */
export async function openHfMusicGen(repository: string): Promise<PretrainedModel | null> {
  if (isAudiocraftFile(repository)) return null;
  const path = await resolveHubFile(repository, "config.json", { optional: true });
  if (path === null) return null;
  const config = readJsonObject(path);
  if (!MODEL_TYPES.includes(config.model_type as string)) return null;
  const optional = async (name: string) => {
    const found = await resolveHubFile(repository, name, { optional: true });
    return found === null ? {} : readJsonObject(found);
  };
  const generation = await optional("generation_config.json");
  const preprocessor = await optional("preprocessor_config.json");
  const composed = hfMusicGenConfig(config, generation, { repository, path, preprocessor });
  const weights = await openHubWeights(repository);
  return {
    name: repository,
    path: weights.path,
    config: composed,
    loadInto: (lm) => loadHfWeights(lm, weights),
    close: () => weights.close(),
  };
}

/**
 * Copies the language model out of a file with Hugging Face's names: a whole MusicGen, or its decoder alone (as
 * MusicgenForCausalLM is saved, whose names lack `decoder.`). @throws UserError that lists what doesn't fit, by their names
 */
export function loadHfWeights(lm: Module, weights: TensorSource): void {
  const whole = weights.names.some((name) => name.startsWith(`${DECODER_PREFIX}model.`));
  loadState(lm, withProjections(weights, lm), {
    rename: (name) => hfNames(name, whole ? DECODER_PREFIX : "") ?? name,
    ignore: isOtherPart,
  });
}

/**
 * Their class has no projection of a condition that is as wide as the model; ours has one always, the identity then.
 */
function withProjections(weights: TensorSource, lm: Module): TensorSource {
  const added = new Map<string, { shape: number[]; values: () => Float32Array }>();
  for (const [name, { shape }] of lm.namedParameters()) {
    if (!/\.output_proj\.weight$/.test(name) || shape[0] !== shape[1]) continue;
    const [weight] = hfNames(name) ?? [];
    if (weight === undefined || weights.names.includes(weight)) continue;
    const [dim] = shape;
    added.set(weight, { shape: [dim, dim], values: () => identity(dim) });
    added.set(weight.replace(/weight$/, "bias"), { shape: [dim], values: () => new Float32Array(dim) });
  }
  if (added.size === 0) return weights;
  return {
    path: weights.path,
    names: [...weights.names, ...added.keys()],
    shape: (name) => added.get(name)?.shape ?? weights.shape(name),
    readFloat32: (name) => added.get(name)?.values() ?? weights.readFloat32(name),
  };
}

function identity(dim: number): Float32Array {
  const values = new Float32Array(dim * dim);
  for (let i = 0; i < dim; i++) values[i * dim + i] = 1;
  return values;
}
