/** Audio files that come out of archives. */
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { writeError } from "../checkpoint/atomic_file.ts";
import { UserError } from "../errors.ts";

/** `name` below `folder`. Throws UserError for a name that leads elsewhere. */
export function placeBelow(folder: string, name: string, archive: string): string {
  const path = normalize(name);
  if (path.startsWith("/") || path.split("/").includes("..") || path.includes("\0"))
    throw new UserError(
      `${archive} holds a file named "${name}", which would lie outside of ${folder}: it is refused`,
    );
  return join(folder, path);
}

/** Writes `content`, of `size` bytes, whole or not at all; a file of that size is there already and stays. Throws UserError. */
export async function extractTo(
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  size: number,
): Promise<void> {
  const isStream = !(content instanceof Uint8Array);
  if (statSync(path, { throwIfNoEntry: false })?.size === size) {
    if (isStream) for await (const _ of content);
    return;
  }
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    if (isStream) await writeAll(temporary, content);
    else writeFileSync(temporary, content);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw writeError(path, size, error as NodeJS.ErrnoException);
  }
}

/** One piece after the other: the file is closed when this ends, however it ends. */
async function writeAll(path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await open(path, "w");
  try {
    for await (const piece of content) await file.writeFile(piece);
  } finally {
    await file.close();
  }
}
