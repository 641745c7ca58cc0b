/** T5's tokenizer: the ids of texts against Google's sentencepiece and transformers. */
import { existsSync } from "node:fs";
import { resolveHubFile } from "../checkpoint/hub.ts";
import { loadT5Tokenizer } from "../models/t5/tokenizer.ts";
import { type Checks, check } from "./check.ts";
import { treeMismatches } from "./compare.ts";
import type { GoldenFolder } from "./folder.ts";

interface SpieceGolden {
  strings: string[];
  /** Ids without `</s>`. */
  t5: number[][];
  /** The ids of transformers' tokenizer, with `</s>`. */
  hf: number[][];
}

const SPECIAL_TOKEN = /<(\/s|pad|unk|extra_id_\d+)>/;

/**
 * Plain texts have the ids of sentencepiece, from which transformers' fast tokenizer strays in one of stacked accents.
 * Sentencepiece takes T5's special tokens for plain text: for texts with them the ids are transformers'.
 */
export async function* verifySpiece(folder: GoldenFolder): Checks {
  const file = folder.files.find((name) => /^t5-spiece.*\.json$/.test(name))!;
  const golden = folder.json<SpieceGolden>(file);
  yield await check("ids", 0, async () => {
    const tokenizer = await loadT5Tokenizer(await modelFile(folder));
    const expected = golden.strings.map((text, i) =>
      SPECIAL_TOKEN.test(text) ? golden.hf[i] : [...golden.t5[i], END],
    );
    const wrong = golden.strings.filter(
      (text, i) => treeMismatches(tokenizer.encode(text), expected[i]).error > 0,
    );
    return wrong.length === 0 ? { error: 0 } : { error: wrong.length, worst: JSON.stringify(wrong[0]) };
  });
}

const END = 1;

/** `spiece.model` of the T5 models: beside the ids, where T5_SPIECE_MODEL says, or in the hub's cache. */
async function modelFile(folder: GoldenFolder): Promise<string> {
  const candidates = [process.env.T5_SPIECE_MODEL, folder.file("spiece.model")];
  const found = candidates.find((path) => path !== undefined && existsSync(path));
  if (found !== undefined) return found;
  try {
    return await resolveHubFile("t5-base", "spiece.model");
  } catch (error) {
    throw new Error(
      `T5's spiece.model is needed: put it into ${folder.path} or name it in T5_SPIECE_MODEL (${(error as Error).message})`,
    );
  }
}
