/** Finding a checkpoint from what a user calls it: nothing, a signature, a path, or AudioCraft's `//sig/<sig>`. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../errors.ts";
import { findExperiment, newestCheckpoint, newestExperiment } from "../xp/folder.ts";

/**
 * The checkpoint file that `name` means; null or "" is the newest of all runs. `doraDir` holds the runs (`xps/<sig>/`).
 * @throws UserError when there is none
 */
export function resolveCheckpoint(name: string | null, doraDir: string): string {
  if (!name) {
    const newest = newestExperiment(doraDir);
    if (!newest)
      throw new UserError(
        `no checkpoint in ${join(doraDir, "xps")} yet: run \`npm run train\` first, or give model=<path>`,
      );
    return newestCheckpoint(newest.dir)!;
  }
  if (name.startsWith("//pretrained/"))
    throw new UserError(`${name}: loading published language models is not built yet`);
  const signature = name.startsWith("//sig/") ? name.slice("//sig/".length) : name;
  if (!name.startsWith("//") && existsSync(name)) return statSync(name).isDirectory() ? inFolder(name) : name;
  if (!/^[0-9a-f]{2,8}$/.test(signature))
    throw new UserError(`${name} is neither a file, a folder nor the signature of a run`);
  return inFolder(findExperiment(doraDir, signature).dir);
}

function inFolder(folder: string): string {
  const checkpoint = newestCheckpoint(folder);
  if (!checkpoint) throw new UserError(`${folder} has no checkpoint`);
  return checkpoint;
}
