/** A lock between processes: a folder that only one of them can create, and keeps its unfinished files in. */
import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";

/** A holder that has written nothing for this long is taken to be gone. */
const STALE_MILLISECONDS = 60_000;

/** Another process has taken the lock away, because it saw no sign of life for a minute. */
export class LockLost extends Error {}

export interface FolderLock {
  /**
   * Makes the file `target` appear whole or not at all: `fill` writes it under another name first. Each write also
   * renews the lock, since it changes the lock folder's time.
   * @throws LockLost
   */
  write(target: string, fill: (path: string) => Promise<void>): Promise<void>;
  release(): Promise<void>;
}

/** The lock, or null while another live process holds it. The folder that shall hold `path` must exist. */
export async function tryLock(path: string): Promise<FolderLock | null> {
  if (!(await create(path))) {
    if (!(await isStale(path))) return null;
    // Renaming is atomic: of several processes that found the lock stale, one takes it away.
    const aside = `${path}-stale-${randomUUID()}`;
    await rename(path, aside).catch(ignoreMissing);
    await rm(aside, { recursive: true, force: true });
    if (!(await create(path))) return null;
  }
  const owner = JSON.stringify({ pid: process.pid, host: hostname(), token: randomUUID() });
  await writeFile(join(path, "owner.json"), owner);
  const isHeld = async () => {
    return (await readFile(join(path, "owner.json"), "utf8").catch(ignoreMissing)) === owner;
  };
  return {
    async write(target, fill) {
      if (!(await isHeld())) throw new LockLost();
      const unfinished = join(path, `${randomUUID()}.tmp`);
      try {
        await fill(unfinished);
        await rename(unfinished, target);
      } catch (error) {
        throw (await isHeld()) ? error : new LockLost();
      }
    },
    async release() {
      if (await isHeld()) await rm(path, { recursive: true, force: true });
    },
  };
}

async function create(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

/** Stale: the holder has ended, or has not renewed the lock for a minute (on another machine, or its pid is reused). */
async function isStale(path: string): Promise<boolean> {
  const status = await stat(path).catch(ignoreMissing);
  if (!status) return true;
  if (Date.now() - status.mtimeMs > STALE_MILLISECONDS) return true;
  const owner = await readFile(join(path, "owner.json"), "utf8").catch(ignoreMissing);
  if (!owner) return false; // just being taken
  const { pid, host } = parseOwner(owner);
  return host === hostname() && !isAlive(pid);
}

function parseOwner(text: string): { pid: number; host: string } {
  try {
    return JSON.parse(text);
  } catch {
    return { pid: 0, host: "" };
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}

function ignoreMissing(error: unknown): undefined {
  if (errorCode(error) !== "ENOENT") throw error;
}

/** The system's code of a failed call, such as "ENOENT". */
export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}
