/** Names of files that begin with `//`: `//reference/…` in the team's folder, `//sig/…` in the folder of an experiment. */
import fs from "node:fs";
import path from "node:path";
import { UserError } from "../errors.ts";
import { type Environment, loadEnvironment } from "./environment.ts";
import { findExperiment, newestCheckpoint } from "./folder.ts";

export interface ReferenceOptions {
  /** The folder of all experiments, for `//sig/`. */
  doraDir: string;
  environment?: Environment;
}

/**
 * The absolute path that a name means. `//reference/a/b` lies in the reference directory, `//sig/SIG` (or the beginning
 * of a signature) is an experiment's folder and may go on with a path in it; other names are paths. `//pretrained/…` is a
 * model and no path: it is returned as it is. Throws UserError for what does not exist.
 */
export function resolveReference(name: string, options: ReferenceOptions): string {
  const [, kind, rest] = /^\/\/([^/]+)\/?(.*)$/s.exec(name) ?? [];
  if (kind === undefined) return path.resolve(name);
  switch (kind) {
    case "pretrained":
      return name;
    case "sig": {
      const [sig, ...inside] = rest!.split("/");
      return existing(path.join(findExperiment(options.doraDir, sig!).dir, ...inside), name);
    }
    case "reference": {
      const { referenceDir, file } = options.environment ?? loadEnvironment();
      if (!fs.existsSync(referenceDir))
        throw new UserError(
          `${name}: there is no reference directory ${referenceDir} (set by ${file}, or AUDIOCRAFT_REFERENCE_DIR)`,
        );
      return existing(path.join(referenceDir, rest!), name);
    }
    default:
      throw new UserError(`${name}: paths with // begin with //reference/, //sig/ or //pretrained/`);
  }
}

/** {@link resolveReference} for a checkpoint: a folder stands for the newest checkpoint in it. */
export function resolveCheckpointFile(name: string, options: ReferenceOptions): string {
  const file = resolveReference(name, options);
  if (file.startsWith("//pretrained/")) return file;
  if (!fs.statSync(existing(file, name)).isDirectory()) return file;
  const checkpoint = newestCheckpoint(file);
  if (!checkpoint) throw new UserError(`${name}: no checkpoint in ${file}`);
  return checkpoint;
}

function existing(file: string, name: string): string {
  if (!fs.existsSync(file)) throw new UserError(`${name}: there is no ${file}`);
  return file;
}
