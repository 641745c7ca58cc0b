// The stamp node_modules/.musicgen/native.json: where set-up put things, and what it was made from.
//
// The runtime reads it to find the native code; the launcher reads it to see in a few milliseconds that nothing is to do.
import { existsSync, readdirSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { hashOf, readJson, sizeOf, writeJson } from "./files.mjs";
import { bindingFile, cacheFolder, stampFile, tensorflowVersion } from "./paths.mjs";

/** True if the last set-up of this checkout still holds for these sources and this environment. */
export function isSetUp(root, env = process.env) {
  return whyNotSetUp(root, env) === undefined;
}

/** The reason why set-up has to run; undefined if it has not. */
export function whyNotSetUp(root, env = process.env) {
  const stamp = readJson(stampFile(root));
  if (!stamp?.files) return "never set up";
  if (stamp.inputs !== inputsHash(root)) return "sources or package-lock.json changed";
  if (stamp.packages !== packagesState(root)) return "node_modules changed";
  if (stamp.cache !== cacheFolder(env)) return "another cache folder";
  if (env.MUSICGEN_TENSORFLOW && env.MUSICGEN_TENSORFLOW !== stamp.variant)
    return "another TensorFlow variant";
  // A driver that came later is worth a new set-up, unless the user chose the variant.
  if (!env.MUSICGEN_TENSORFLOW && !stamp.chosen && stamp.variant === "cpu" && hasDriverFile())
    return "a GPU appeared";
  for (const [file, size] of Object.entries(stamp.files)) {
    if (sizeOf(file) !== size) return `${file} is missing or damaged`;
  }
  if (linkTarget(bindingFile(root)) !== stamp.binding) return "tfjs-node-gpu's addon is missing";
  return undefined;
}

/** `files` are those whose presence and size each later start checks; `chosen`: the user named the variant. */
export function writeStamp(root, { native, tensorflow, variant, chosen, cache, binding, files }) {
  writeJson(stampFile(root), {
    native,
    tensorflow,
    tensorflowVersion,
    variant,
    cache,
    chosen,
    binding,
    inputs: inputsHash(root),
    packages: packagesState(root),
    files: Object.fromEntries(files.map((file) => [file, sizeOf(file)])),
  });
}

/** What the result of set-up depends on in this checkout. */
function inputsHash(root) {
  const native = join(root, "native");
  const sources = existsSync(native) ? readdirSync(native, { recursive: true }).sort() : [];
  return hashOf({
    files: [
      join(root, "package-lock.json"),
      join(root, "scripts", "setup", "native.mjs"),
      ...sources.map((name) => join(native, name)),
    ],
    texts: [tensorflowVersion, ...sources],
  });
}

/** Changes whenever npm has touched node_modules. */
function packagesState(root) {
  const state = statSync(join(root, "node_modules", ".package-lock.json"), { throwIfNoEntry: false });
  return state ? `${state.size} ${state.mtimeMs}` : "none";
}

export function hasDriverFile() {
  return existsSync("/proc/driver/nvidia/version");
}

function linkTarget(path) {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
