/**
 * Finding a model from what a user calls it: nothing, `default`, a signature, a path, `//sig/…`, `//reference/…`, `//embedded/…`,
 * `//pretrained/…` or the name of a published model.
 */
import { existsSync, statSync } from "node:fs";
import { DEFAULT_MODEL, embeddedFile } from "../checkpoint/embedded.ts";
import { pretrainedName } from "../models/pretrained/index.ts";
import { newestCheckpoint, newestExperiment } from "../xp/folder.ts";
import { resolveCheckpointFile, resolveReference } from "../xp/reference.ts";

/** Where a model's weights are. */
export type ModelLocation =
  /** A checkpoint of this program. */
  | { kind: "checkpoint"; path: string }
  /** A repository, folder or file in another program's layout. */
  | { kind: "pretrained"; name: string };

/**
 * What `name` means; null or "" is the newest checkpoint of all runs that train a language model, and without one the shipped model, `default`. `doraDir`
 * holds the runs (`xps/<sig>/`). A signature of them, and a folder with a checkpoint of ours in it, come before published names.
 * @throws UserError when there is none
 */
export function locateModel(name: string | null, doraDir: string): ModelLocation {
  if (!name) {
    const newest = newestExperiment(doraDir, ({ argv }) => !trainsCodec(argv));
    if (newest) return { kind: "checkpoint", path: newestCheckpoint(newest.dir)! };
    return { kind: "checkpoint", path: embeddedFile(DEFAULT_MODEL)! };
  }
  const embedded = embeddedFile(name);
  if (embedded !== null) return { kind: "checkpoint", path: embedded };
  const isSignature = !name.startsWith("//") && !existsSync(name) && /^[0-9a-f]{2,8}$/.test(name);
  if (isSignature) return { kind: "checkpoint", path: resolveCheckpointFile(`//sig/${name}`, { doraDir }) };
  const file = /^\/\/(sig|reference)\//.test(name) ? resolveReference(name, { doraDir }) : name;
  const isOurs = existsSync(file) && statSync(file).isDirectory() && newestCheckpoint(file) !== undefined;
  const pretrained = isOurs ? null : pretrainedName(file);
  if (pretrained !== null) return { kind: "pretrained", name: pretrained };
  return { kind: "checkpoint", path: resolveCheckpointFile(file, { doraDir }) };
}

/** Whether a run's command line chooses a solver that trains a codec. */
function trainsCodec(argv: readonly string[]): boolean {
  return argv.some((argument) => /^\+?solver=compression(\/|$)/.test(argument));
}
