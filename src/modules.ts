/**
 * Importing modules by their URL or path. The launcher runs this program from compiled files (scripts/launch/compiled.mjs), while
 * `import.meta.url` and everything here speaks of the sources.
 */
import { register } from "node:module";
import { pathToFileURL } from "node:url";

/** Where the compiled files are, and what they were made from: URLs that end in a slash. */
export interface CompiledPlace {
  folder: string;
  sources: string;
}

/** Undefined when the sources themselves are run (tests, or a folder that cannot be written). */
export function compiledPlace(): CompiledPlace | undefined {
  return (globalThis as Record<symbol, unknown>)[Symbol.for("musicgen-tfjs.compiled")] as
    | CompiledPlace
    | undefined;
}

/** The URL to import for a module of ours, given as its source's URL. */
export function runnable(module: string, place = compiledPlace()): string {
  if (!place || !module.startsWith(place.sources) || !module.endsWith(".ts")) return module;
  return `${place.folder}${module.slice(place.sources.length, -".ts".length)}.mjs`;
}

let readsTypeScript = false;

/** Imports a module of the user's, which may be TypeScript and may import ours. `Exports` is what it should export. */
export async function importUserModule<Exports>(file: string): Promise<Partial<Exports>> {
  const place = compiledPlace();
  if (place && !readsTypeScript) {
    readsTypeScript = true;
    const tsx = await import("tsx/esm/api");
    tsx.register();
    register(new URL("../scripts/launch/compiled_hooks.mjs", import.meta.url), { data: place });
  }
  return await import(pathToFileURL(file).href);
}
