// What a thread has to know that runs compiled files: where they are, and how their stack traces become the sources'.
import { readFileSync } from "node:fs";
import { findSourceMap, SourceMap } from "node:module";
import { fileURLToPath } from "node:url";

/**
 * This thread's modules are under the URL `folder` and were made from those under `sources` (both end in a slash): src/modules.ts
 * reads that, and stack traces name the source's file, line and column. Source maps are read when a trace is looked at.
 */
export function runFrom(running) {
  globalThis[Symbol.for("musicgen-tfjs.compiled")] = running;
  const maps = new Map();
  Error.prepareStackTrace = (error, frames) => {
    const lines = frames.map((frame) => `\n    at ${inSource(String(frame), running, maps)}`);
    return `${title(error)}${lines.join("")}`;
  };
}

function title(error) {
  try {
    return Error.prototype.toString.call(error);
  } catch {
    return "Error";
  }
}

/** `f (file:///…/compiled/a.mjs:3:7)` -> `f (file:///…/src/a.ts:12:5)` */
function inSource(frame, { folder, sources }, maps) {
  const [, before, url, line, column, after] =
    /^(.*?)(file:\/\/.*?|\/.*?):(\d+):(\d+)(\)?)$/.exec(frame) ?? [];
  if (url === undefined) return frame;
  const isOurs = url.startsWith(folder) && url.endsWith(".mjs");
  // tsx gives Node the maps of a user's TypeScript
  const map = isOurs ? readMap(`${url}.map`, maps) : findSourceMap(url.replace(/^file:\/\//, ""));
  const { originalLine, originalColumn } = map?.findEntry(line - 1, column - 1) ?? {};
  const name = isOurs ? `${sources}${url.slice(folder.length, -".mjs".length)}.ts` : url;
  const position = originalLine === undefined ? [line, column] : [originalLine + 1, originalColumn + 1];
  return `${before}${name}:${position.join(":")}${after}`;
}

/** Undefined when the map is gone. */
function readMap(url, maps) {
  try {
    if (!maps.has(url)) maps.set(url, new SourceMap(JSON.parse(readFileSync(fileURLToPath(url), "utf8"))));
    return maps.get(url);
  } catch {
    return undefined;
  }
}
