/** The models that come with the program: files in assets/. */
import { existsSync, readdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { UserError } from "../errors.ts";

const FOLDER = fileURLToPath(new URL("../../assets/", import.meta.url));

/** What `default` stands for as the name of a model. */
export const DEFAULT_MODEL = "//embedded/musicgen_tiny_16khz";

/** What an embedded file is called; null for files from elsewhere. */
export function embeddedName(path: string): string | null {
  return resolve(path).startsWith(FOLDER) ? basename(path, ".safetensors") : null;
}

/** The file of `//embedded/NAME`, or of `default`; null for other names. @throws UserError when there is no such model */
export function embeddedFile(spec: string): string | null {
  const name = /^\/\/embedded\/(.+)$/.exec(spec === "default" ? DEFAULT_MODEL : spec)?.[1];
  if (name === undefined) return null;
  const file = join(FOLDER, `${name}.safetensors`);
  if (existsSync(file)) return file;
  const known = readdirSync(FOLDER).filter((each) => each.endsWith(".safetensors"));
  throw new UserError(
    `there is no embedded model ${name}; there are ${known.map((each) => `//embedded/${each.replace(/\.safetensors$/, "")}`).join(", ")}`,
  );
}
