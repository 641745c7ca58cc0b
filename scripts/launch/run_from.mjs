// What a thread has to know that runs compiled files: where they are, and how their stack traces become the sources'.
import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
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
  const start = frame.indexOf(folder);
  if (start < 0) return frame;
  const [all, name, line, column] = /^(.*?)\.mjs:(\d+):(\d+)/.exec(frame.slice(start + folder.length)) ?? [];
  if (all === undefined) return frame;
  const position = original(`${folder}${name}.mjs.map`, line - 1, column - 1, maps);
  const end = frame.slice(start + folder.length + all.length);
  return `${frame.slice(0, start)}${sources}${name}.ts${position}${end}`;
}

function original(url, line, column, maps) {
  try {
    if (!maps.has(url)) maps.set(url, new SourceMap(JSON.parse(readFileSync(fileURLToPath(url), "utf8"))));
    const { originalLine, originalColumn } = maps.get(url).findEntry(line, column);
    return originalLine === undefined ? "" : `:${originalLine + 1}:${originalColumn + 1}`;
  } catch {
    return ""; // the map is gone: the file's name has to do
  }
}
