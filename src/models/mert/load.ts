/** A MERT from a model repository: `config.json` and the weights. */
import { openHubWeights, resolveHubFile } from "../../checkpoint/hub.ts";
import { readJson } from "../../checkpoint/json.ts";
import { loadState } from "../../nn/index.ts";
import { parseMertConfig } from "./config.ts";
import { MertEncoder } from "./encoder.ts";

/** The model that style conditioning listens with. */
export const MERT_REPOSITORY = "m-a-p/MERT-v1-95M";

/**
 * Loads a MERT (or a HuBERT of the same structure).
 * @param folderOrHubId a local folder, or a repository in the hub or its cache
 * @throws UserError when a file is missing, damaged, of another model, or does not fit the others
 */
export async function loadMert(folderOrHubId = MERT_REPOSITORY): Promise<MertEncoder> {
  const configPath = await resolveHubFile(folderOrHubId, "config.json");
  const encoder = new MertEncoder(parseMertConfig(readJson(configPath), configPath));
  const reader = await openHubWeights(folderOrHubId);
  try {
    // what else the file may hold (the vector for masked frames, heads for training) is not used here
    loadState(encoder, reader, { rename: namesInFile(reader.names), ignore: () => true });
  } finally {
    reader.close();
  }
  return encoder;
}

/** The names in the file for ours: newer PyTorch calls the parts of a normed weight differently. */
export function namesInFile(names: readonly string[]): (name: string) => string {
  const parametrized = names.some((name) => name.includes(".parametrizations.weight."));
  if (!parametrized) return (name) => name;
  return (name) =>
    name
      .replace(/\.weight_g$/, ".parametrizations.weight.original0")
      .replace(/\.weight_v$/, ".parametrizations.weight.original1");
}
