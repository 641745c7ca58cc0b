/** A T5 encoder and its tokenizer from a model repository: T5's own, or a MusicGen's, which has one as its text encoder. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openHubWeights, resolveHubFile } from "../../checkpoint/hub.ts";
import { readJson } from "../../checkpoint/json.ts";
import type { WeightsReader } from "../../checkpoint/safetensors.ts";
import { UserError } from "../../errors.ts";
import { loadState } from "../../nn/index.ts";
import { parseT5Config } from "./config.ts";
import { T5Encoder } from "./encoder.ts";
import { loadT5Tokenizer, type T5Tokenizer } from "./tokenizer.ts";
import { spieceModelOf } from "./tokenizer_json.ts";

export interface T5 {
  encoder: T5Encoder;
  tokenizer: T5Tokenizer;
}

/**
 * Loads `config.json`, `model.safetensors` (or its shards) and the tokenizer: `spiece.model`, or else `tokenizer.json`.
 * @param folderOrHubId a local folder, or a repository in the hub or its cache ("t5-base", "google/flan-t5-small", …)
 * @throws UserError when a file is missing, damaged, or does not fit the others
 */
export async function loadT5(folderOrHubId: string): Promise<T5> {
  const tokenizer = await loadTokenizer(folderOrHubId);
  const encoder = await loadT5Encoder(folderOrHubId);
  if (tokenizer.vocabSize > encoder.config.vocabSize) {
    encoder.dispose();
    throw new UserError(
      `${folderOrHubId}: the tokenizer has ${tokenizer.vocabSize} tokens, the model ${encoder.config.vocabSize}; they are of different models`,
    );
  }
  return { encoder, tokenizer };
}

/** A MusicGen that lacks a tokenizer can still be used without texts: only a text makes it an error. */
async function loadTokenizer(folderOrHubId: string): Promise<T5Tokenizer> {
  const spiece = await resolveHubFile(folderOrHubId, "spiece.model", { optional: true });
  if (spiece !== null) return await loadT5Tokenizer(spiece);
  const fast = await resolveHubFile(folderOrHubId, "tokenizer.json", { optional: true });
  if (fast !== null) return await fromTokenizerJson(fast);
  const config = readJson(await resolveHubFile(folderOrHubId, "config.json")) as Record<string, unknown>;
  if (config?.text_encoder !== undefined) return missingTokenizer(folderOrHubId);
  return await loadT5Tokenizer(await resolveHubFile(folderOrHubId, "spiece.model"));
}

async function fromTokenizerJson(path: string): Promise<T5Tokenizer> {
  const folder = mkdtempSync(join(tmpdir(), "t5-tokenizer-"));
  try {
    const spiece = join(folder, "spiece.model");
    writeFileSync(spiece, spieceModelOf(path));
    return await loadT5Tokenizer(spiece);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function missingTokenizer(where: string): T5Tokenizer {
  const fail = () => {
    throw new UserError(
      `${where} has no tokenizer: put the spiece.model of its text encoder there (for MusicGen, that of t5-base)`,
    );
  };
  // a batch without any text needs no tokenizer: each row is the end token
  const encodeBatch = (texts: readonly string[]) => {
    if (texts.some((text) => text !== "")) fail();
    return {
      ids: new Int32Array(texts.length).fill(1),
      mask: new Float32Array(texts.length).fill(1),
      length: 1,
    };
  };
  return { vocabSize: 0, encode: fail, encodeBatch };
}

/** The encoder alone: `config.json` and the weights. */
export async function loadT5Encoder(folderOrHubId: string): Promise<T5Encoder> {
  const configPath = await resolveHubFile(folderOrHubId, "config.json");
  const encoder = new T5Encoder(parseT5Config(readJson(configPath), configPath));
  const reader = await openHubWeights(folderOrHubId);
  try {
    // whatever else the file holds (T5's decoder, MusicGen's other parts) is not ours
    loadState(encoder, reader, { rename: namesInFile(reader), ignore: () => true });
  } finally {
    reader.close();
  }
  return encoder;
}

/**
 * The names in the file for ours. A MusicGen has the encoder under `text_encoder.`; and the shared embeddings may be there
 * only under the name of their use.
 */
export function namesInFile(reader: Pick<WeightsReader, "names" | "has">): (name: string) => string {
  const prefix = reader.names.some((name) => name.startsWith("text_encoder.")) ? "text_encoder." : "";
  const alias = `${prefix}encoder.embed_tokens.weight`;
  return (name) => {
    const isUnderAlias = name === "shared.weight" && !reader.has(prefix + name) && reader.has(alias);
    return isUnderAlias ? alias : prefix + name;
  };
}
