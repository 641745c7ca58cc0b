// Where set-up keeps things: one cache folder outside the checkout, shared by all clones, and one stamp inside node_modules.
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";

/** TensorFlow's version, fixed: the native code and the exported graphs are tested with this one. */
export const tensorflowVersion = "2.21.0";

/** The cache folder: $MUSICGEN_CACHE_DIR, else $XDG_CACHE_HOME/musicgen-tfjs, else ~/.cache/musicgen-tfjs. */
export function cacheFolder(env = process.env) {
  if (env.MUSICGEN_CACHE_DIR) return resolve(env.MUSICGEN_CACHE_DIR);
  const xdg = env.XDG_CACHE_HOME;
  // The XDG specification: a relative path is to be ignored.
  if (xdg && isAbsolute(xdg)) return join(xdg, "musicgen-tfjs");
  return join(env.HOME || homedir(), ".cache", "musicgen-tfjs");
}

/** `<cache>/tensorflow-<version>-<variant>`, laid out as a site-packages folder so that the CUDA wheels find each other. */
export function tensorflowFolder(cache, variant) {
  return join(cache, `tensorflow-${tensorflowVersion}-${variant}`);
}

export function libraryFolder(cache, variant) {
  return join(tensorflowFolder(cache, variant), "site-packages", "tensorflow");
}

export const stampFile = (root) => join(root, "node_modules", ".musicgen", "native.json");

/** Where tfjs-node-gpu looks for its addon. */
export const bindingFile = (root) =>
  join(root, "node_modules", "@tensorflow", "tfjs-node-gpu", "lib", "napi-v8", "tfjs_binding.node");
