/** Writing a file so that, whatever happens, the old one or the new one is there, whole. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, statfsSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { UserError } from "../errors.ts";

/** One write at most: larger ones are cut into these. */
const CHUNK = 64 << 20;

export interface FileWriter {
  /** Writes at the end. */
  append(bytes: Uint8Array): void;
  /** Writes over what is at `position`. */
  overwrite(position: number, bytes: Uint8Array): void;
}

/**
 * `write` fills `<path>.tmp`, which is then flushed to the disk and renamed to `path`.
 * @param size bytes that will be written, for the message when the disk is full
 * @throws UserError when the system refuses (disk full, no permission, …); `<path>.tmp` is gone then, `path` untouched
 */
export async function writeFileAtomically(
  path: string,
  size: number,
  write: (file: FileWriter) => void | Promise<void>,
): Promise<void> {
  const temporary = `${path}.tmp`;
  let descriptor: number | undefined;
  let opened = false;
  try {
    descriptor = openSync(temporary, "w");
    opened = true;
    await write(fileWriter(descriptor));
    fsyncSync(descriptor);
    closeSync(descriptor);
    descriptor = undefined;
    renameSync(temporary, path);
    flushFolder(dirname(path));
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    if (opened) rmSync(temporary, { force: true });
    throw writeError(path, size, error as NodeJS.ErrnoException);
  }
}

/** Makes a rename in this folder survive a power cut. */
export function flushFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } catch (error) {
    // some network file systems cannot flush a folder, and need not
    if (!["EINVAL", "ENOTSUP", "EBADF"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  } finally {
    closeSync(descriptor);
  }
}

/** A refusal of the system in the user's words; other errors stay as they are. */
export function writeError(path: string, size: number, error: NodeJS.ErrnoException): Error {
  const folder = dirname(path);
  const reasons: Record<string, () => string> = {
    ENOSPC: () => `the disk is full${sizes(folder, size)}; free some space or write to another disk`,
    EDQUOT: () =>
      `your disk quota is used up${sizes(folder, size)}; free some space or write to another disk`,
    EFBIG: () => `the file would be larger than the system allows; raise the limit (ulimit -f)`,
    ENOENT: () => `the folder ${folder} does not exist; create it first`,
    EACCES: () => `no permission to write in ${folder}; change the permissions or write to another folder`,
    EPERM: () => `no permission to write in ${folder}; change the permissions or write to another folder`,
    EROFS: () => `${folder} is on a read-only disk; write to another folder`,
    EEXIST: () => `a file of that name is in the way; remove it or choose another name`,
    EISDIR: () => `a folder of that name is in the way; remove it or choose another name`,
    ENOTDIR: () => `${folder} is not a folder; choose another path`,
    EIO: () => `the disk reports an error; check its health and write to another disk`,
  };
  const reason = error.code === undefined ? undefined : reasons[error.code];
  return reason ? new UserError(`${path}: cannot write: ${reason()}`, { cause: error }) : error;
}

function sizes(folder: string, size: number): string {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return ` (${megabytes(size)} needed, ${megabytes(bavail * bsize)} free in ${folder})`;
  } catch {
    return ` (${megabytes(size)} needed in ${folder})`;
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function fileWriter(descriptor: number): FileWriter {
  let end = 0;
  function overwrite(position: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const length = Math.min(CHUNK, bytes.length - done);
      done += writeSync(descriptor, bytes, done, length, position + done);
    }
  }
  return {
    overwrite,
    append(bytes) {
      overwrite(end, bytes);
      end += bytes.length;
    },
  };
}
