/** Sidecars: the JSON files beside audio files that say what is heard (`song.json` for `song.wav`). */
import { readFileSync } from "node:fs";
import { extname } from "node:path";

export type Sidecar = Record<string, unknown>;

/** The sidecar of an audio file: the same path with the suffix .json. */
export function sidecarPath(path: string): string {
  return `${path.slice(0, path.length - extname(path).length)}.json`;
}

/** The content of a sidecar; undefined if there is no such file. Throws Error for one that is not a JSON object. */
export function readSidecar(path: string): Sidecar | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const content = parsePythonJson(text);
  if (content !== null && typeof content === "object" && !Array.isArray(content)) return content as Sidecar;
  throw new Error("it is not a JSON object");
}

/** JSON as Python writes it: NaN and infinite numbers, which JSON does not have, become null. */
export function parsePythonJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!/\b(NaN|Infinity)\b/.test(text)) throw error;
    return JSON.parse(
      text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/gs, (token) =>
        token[0] === '"' ? token : "null",
      ),
    );
  }
}
