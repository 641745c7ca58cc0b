/** Finding a checkpoint from what a user calls it: nothing, a signature, a path, `//sig/…` or `//reference/…`. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { UserError } from "../errors.ts";
import { newestCheckpoint, newestExperiment } from "../xp/folder.ts";
import { resolveCheckpointFile } from "../xp/reference.ts";

/**
 * The checkpoint file that `name` means; null or "" is the newest of all runs. `doraDir` holds the runs (`xps/<sig>/`).
 * @throws UserError when there is none
 */
export function resolveCheckpoint(name: string | null, doraDir: string): string {
  if (!name) {
    const newest = newestExperiment(doraDir);
    if (newest) return newestCheckpoint(newest.dir)!;
    throw new UserError(
      `no checkpoint in ${join(doraDir, "xps")} yet: run \`npm run train\` first, or give model=<path>`,
    );
  }
  if (name.startsWith("//pretrained/")) {
    throw new UserError(`${name}: loading published language models is not built yet`);
  }
  const isSignature = !name.startsWith("//") && !existsSync(name) && /^[0-9a-f]{2,8}$/.test(name);
  return resolveCheckpointFile(isSignature ? `//sig/${name}` : name, { doraDir });
}
