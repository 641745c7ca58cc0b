/** Finds the audio files that tables name. */
import { existsSync } from "node:fs";
import { basename, extname, isAbsolute, join } from "node:path";
import { listAudio } from "../data/scan.ts";
import type { RowFacts } from "./columns.ts";

/** YouTube's ids have so many characters. */
const ID_LENGTH = 11;

export class AudioLocator {
  private readonly folder: string;
  private names: Map<string, string[]> | undefined;

  constructor(folder: string) {
    this.folder = folder;
  }

  /**
   * The file of a row: by its path (absolute, below the folder, or by its name anywhere below it), else by its id: files named
   * ID, ID_START_END, "title [ID]" and the like. Undefined if there is none.
   */
  find({ path, id, start }: RowFacts): string | undefined {
    if (path !== null) {
      const file = isAbsolute(path) ? path : join(this.folder, path);
      if (existsSync(file) && extname(file) !== "") return file;
      const found = [...this.named(basename(path)), ...this.named(stem(path))];
      const exact = found.find((candidate) => candidate.endsWith(`/${path}`));
      // A name that several folders have names none of them.
      if (exact || new Set(found).size === 1) return exact ?? found[0];
    }
    return id === null
      ? undefined
      : this.named(id).find((file) => id === stem(file) || fits(stem(file), id, start));
  }

  private named(name: string): string[] {
    this.names ??= indexNames(listAudio(this.folder));
    return this.names.get(name) ?? [];
  }
}

/** Files by what they may be asked for. */
function indexNames(files: string[]): Map<string, string[]> {
  const names = new Map<string, string[]>();
  for (const file of files) {
    const name = stem(file);
    const bracketed = /\[([\w-]{11})\]/.exec(name)?.[1];
    const keys = new Set([basename(file), name, name.slice(0, ID_LENGTH), ...(bracketed ? [bracketed] : [])]);
    for (const key of keys) {
      const known = names.get(key);
      if (known) known.push(file);
      else names.set(key, [file]);
    }
  }
  return names;
}

/** Whether a file's name can mean the part of the recording that begins at `start`: its other numbers, if any, include it. */
function fits(name: string, id: string, start: number | null): boolean {
  const rest = name.startsWith(id)
    ? name.slice(id.length)
    : name.slice(name.indexOf(`[${id}]`) + id.length + 2);
  if (/^\w/.test(rest) && !rest.startsWith("_")) return false;
  const numbers = rest.match(/\d+(\.\d+)?/g)?.map(Number);
  return start === null || !numbers || numbers.some((number) => number === start || number === 1000 * start);
}

function stem(path: string): string {
  const name = basename(path);
  return name.slice(0, name.length - extname(name).length);
}
