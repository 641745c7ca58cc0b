/** A CLAP from a model repository in transformers' layout, or from one of laion_clap's checkpoints. */
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { openHubWeights, resolveHubFile } from "../../checkpoint/hub.ts";
import { readJson } from "../../checkpoint/json.ts";
import type { WeightsReader } from "../../checkpoint/safetensors.ts";
import { openTorchArchive, openWeights, stateDictReader } from "../../checkpoint/weights.ts";
import { UserError } from "../../errors.ts";
import { loadState } from "../../nn/index.ts";
import { clapArchitecture, parseClapConfig } from "./config.ts";
import { laionNames } from "./laion.ts";
import { LOG_MEL_DEFAULTS, LogMel, parseLogMelOptions } from "./log_mel.ts";
import { Clap, ClapModel } from "./model.ts";
import { type BpeVocabulary, readTokenizerJson, readVocabulary, robertaTokenizer } from "./tokenizer.ts";

/** Whose tokenizer laion_clap uses. */
const TOKENIZER_REPOSITORY = "roberta-base";

/**
 * Loads a CLAP.
 * @param checkpoint a folder or hub id with `config.json`, weights and tokenizer ("laion/larger_clap_music", …), or a file
 *   of laion_clap ("music_audioset_epoch_15_esc_90.14.pt", …), whose tokenizer is taken from beside it or from roberta-base
 * @param architecture of a file: laion_clap's `amodel`; a folder's config.json says it itself
 * @throws UserError when a file is missing, damaged, of another model, or does not fit the others
 */
export async function loadClap(checkpoint: string, architecture = "HTSAT-base"): Promise<Clap> {
  const isFile = /\.(pt|pth|th|bin|ckpt|safetensors)$/.test(checkpoint);
  if (isFile && !existsSync(checkpoint)) throw new UserError(`${checkpoint}: no such file`);
  return isFile ? loadLaion(checkpoint, architecture) : loadRepository(checkpoint);
}

async function loadRepository(repository: string): Promise<Clap> {
  const configPath = await resolveHubFile(repository, "config.json");
  const model = new ClapModel(parseClapConfig(readJson(configPath), configPath));
  const featuresPath = await resolveHubFile(repository, "preprocessor_config.json");
  const logMel = new LogMel(parseLogMelOptions(readJson(featuresPath), featuresPath));
  const vocabulary = await loadVocabulary(repository);
  withReader(await openHubWeights(repository), (reader) =>
    // what else is there scales the scores of training, or counts places
    loadState(model, reader, { ignore: () => true }),
  );
  return new Clap(model, logMel, robertaTokenizer(vocabulary, repository));
}

async function loadLaion(path: string, architecture: string): Promise<Clap> {
  const model = new ClapModel(clapArchitecture(architecture));
  const folder = dirname(path);
  const hasTokenizer = ["vocab.json", "tokenizer.json"].some((name) => existsSync(join(folder, name)));
  const repository = hasTokenizer ? folder : TOKENIZER_REPOSITORY;
  const vocabulary = await loadVocabulary(repository);
  withReader(openLaion(path), (reader) => loadState(model, laionNames(reader), { ignore: () => true }));
  return new Clap(model, new LogMel(LOG_MEL_DEFAULTS), robertaTokenizer(vocabulary, repository));
}

/** The state dict stands alone in the file, or under `state_dict` beside that of the optimizer. */
function openLaion(path: string): WeightsReader {
  if (path.endsWith(".safetensors")) return openWeights(path);
  const archive = openTorchArchive(path);
  try {
    const { value } = archive;
    const isPacked = typeof value === "object" && value !== null && "state_dict" in value;
    return stateDictReader(archive, isPacked ? ["state_dict"] : []);
  } catch (error) {
    archive.close();
    throw error;
  }
}

/** `vocab.json` and `merges.txt`, or `tokenizer.json` where there is no other. */
async function loadVocabulary(repository: string): Promise<BpeVocabulary> {
  const isFolder = existsSync(repository) && statSync(repository).isDirectory();
  if (isFolder && !existsSync(join(repository, "vocab.json"))) {
    return readTokenizerJson(await resolveHubFile(repository, "tokenizer.json"));
  }
  return readVocabulary(
    await resolveHubFile(repository, "vocab.json"),
    await resolveHubFile(repository, "merges.txt"),
  );
}

function withReader(reader: WeightsReader, use: (reader: WeightsReader) => void): void {
  try {
    use(reader);
  } finally {
    reader.close();
  }
}
