/** The tokenizer of a text encoder, for an export that carries the encoder. */
import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { resolveHubFile } from "../checkpoint/hub.ts";
import { writeFileAtomic } from "../xp/folder.ts";

const FILES = ["spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

/** What transformers needs to know when a repository has only the SentencePiece model. */
const CONFIG = {
  tokenizer_class: "T5Tokenizer",
  eos_token: "</s>",
  pad_token: "<pad>",
  unk_token: "<unk>",
  extra_ids: 100,
};

/** Copies the tokenizer's files from a T5's folder or repository; one without any (a test's) is told to `warn`. */
export async function copyTokenizer(
  repository: string,
  folder: string,
  warn: (message: string) => void,
): Promise<void> {
  for (const name of FILES) {
    const path = await resolveHubFile(repository, name, { optional: true });
    if (path !== null) copyFileSync(path, join(folder, name));
  }
  const has = (name: string) => existsSync(join(folder, name));
  if (!has("spiece.model") && !has("tokenizer.json")) {
    warn(`${repository} has no tokenizer: put its spiece.model into the export`);
  } else if (!has("tokenizer_config.json")) {
    writeFileAtomic(join(folder, "tokenizer_config.json"), `${JSON.stringify(CONFIG, null, 2)}\n`);
  }
}
