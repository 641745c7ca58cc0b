// src/ as JavaScript, in node_modules/.musicgen/compiled: each file is translated once, when it is new or has changed.
//
// Starting from there takes a third of the time that translating on every import takes, in every thread: no loader hooks, no
// guesses at file names. Every source keeps a file of its own, so that a module that a user's plugin imports from src/ is the
// one that is running (compiled_hooks.mjs). `import.meta.url` stays that of the source; positions in stack traces are
// brought back to it by run_from.mjs.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { readJson, writeJson } from "../setup/files.mjs";
import { runFrom } from "./run_from.mjs";

/** The place of a source file's translation: under `folder`, where the source is under `sources`. */
export const compiledName = (name) => `${name.slice(0, -".ts".length)}.mjs`;

/**
 * Brings the folder up to date and makes this process run from it. Returns the URL of a source file's translation, or null
 * where that cannot be had (a folder that is not writable, an error in a source): then the sources have to be run themselves.
 */
export async function useCompiled(root, entry) {
  const sources = join(root, "src");
  const folder = join(root, "node_modules", ".musicgen", "compiled");
  try {
    await update(sources, folder);
  } catch {
    return null;
  }
  runFrom({ sources: `${pathToFileURL(sources).href}/`, folder: `${pathToFileURL(folder).href}/` });
  return pathToFileURL(join(folder, compiledName(relative(sources, entry)))).href;
}

/** Translates what differs from the list of the last time. */
async function update(sources, folder) {
  const list = join(folder, "list.json");
  const inputs = inputsOf(sources);
  const old = readJson(list);
  const known = old?.inputs === inputs ? old.files : {};
  const files = stateOf(sources);
  const changed = Object.keys(files).filter((name) => files[name] !== known[name]);
  const gone = Object.keys(known).filter((name) => !(name in files));
  if (changed.length === 0 && gone.length === 0) return;
  await compile(sources, folder, changed);
  for (const name of gone) {
    for (const end of ["", ".map"]) rmSync(join(folder, compiledName(name) + end), { force: true });
  }
  writeJson(list, { inputs, files });
}

/** What every translation depends on: where the sources are, this file, and the packages. */
function inputsOf(sources) {
  const packages = join(dirname(sources), "node_modules", ".package-lock.json");
  return [sources, fingerprint(fileURLToPath(import.meta.url)), fingerprint(packages)].join(" ");
}

/** Every source file with a text that changes when it is written. */
function stateOf(sources) {
  const names = readdirSync(sources, { recursive: true }).filter((name) => name.endsWith(".ts"));
  return Object.fromEntries(names.map((name) => [name, fingerprint(join(sources, name))]));
}

function fingerprint(file) {
  const state = statSync(file, { throwIfNoEntry: false });
  return state ? `${state.size} ${state.mtimeMs} ${state.ctimeMs}` : "none";
}

/** One JavaScript file and one source map for each name, put in place whole: another process may be reading them. */
async function compile(sources, folder, names) {
  const { outputFiles } = await esbuild().build({
    entryPoints: names.map((name) => join(sources, name)),
    outbase: sources,
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    bundle: true, // only so that the plugin is asked about imports: all of them stay imports
    plugins: [separateFiles],
    format: "esm",
    platform: "node",
    target: "node20",
    sourcemap: "linked",
    sourcesContent: false,
    logLevel: "silent",
    write: false,
  });
  for (const { path, contents } of outputFiles) {
    if (!existsSync(dirname(path))) mkdirSync(dirname(path), { recursive: true });
    const temporary = `${path}.${process.pid}.tmp`;
    writeFileSync(temporary, contents);
    renameSync(temporary, path);
  }
}

const separateFiles = {
  name: "separate files",
  setup(build) {
    build.onResolve({ filter: /.*/ }, ({ kind, path }) => {
      if (kind === "entry-point") return undefined;
      return { path: /^\..*\.ts$/.test(path) ? compiledName(path) : path, external: true };
    });
    build.onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const url = JSON.stringify(pathToFileURL(path).href);
      return { contents: readFileSync(path, "utf8").replaceAll("import.meta.url", url), loader: "ts" };
    });
  },
};

/** The compiler that tsx brings along. */
function esbuild() {
  const ours = createRequire(import.meta.url);
  return createRequire(ours.resolve("tsx"))("esbuild");
}
