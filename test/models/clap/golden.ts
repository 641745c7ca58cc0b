/** What the tests of CLAP read from test/golden/clap. */
import { readFileSync } from "node:fs";

export const golden = new URL("../../golden/clap/", import.meta.url).pathname;

export const CLIPS = ["clip0", "clip1", "clip2"];

/** Texts, and their ids by transformers' RobertaTokenizer. */
export function readTexts(variant: string): { texts: string[]; ids: number[][] } {
  return JSON.parse(readFileSync(`${golden}${variant}/texts.json`, "utf8"));
}
