/** A regular file opened for reads at any byte offset. */
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { AudioReadError } from "./audio.ts";

export class FileBytes {
  readonly path: string;
  readonly size: number;
  /** Modification time in ms; with `size` it tells whether cached facts about the file still hold. */
  readonly modified: number;
  private fd: number;

  constructor(path: string) {
    this.path = path;
    try {
      // Asked before opening: opening a pipe would wait for its writer.
      if (!statSync(path).isFile()) throw new AudioReadError(path, "it is not a regular file");
      // And should it have become one meanwhile, this does not wait either.
      this.fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      throw asReadError(path, error);
    }
    const stat = fstatSync(this.fd);
    if (!stat.isFile()) {
      this.close();
      throw new AudioReadError(path, "it is not a regular file");
    }
    this.size = stat.size;
    this.modified = stat.mtimeMs;
    if (this.size === 0) {
      this.close();
      throw new AudioReadError(path, "it is empty");
    }
  }

  /** The bytes [offset, offset + length), fewer at the end of the file. The buffer starts aligned at 0. */
  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, this.size - offset)));
    const done = this.readInto(bytes, offset);
    return done === bytes.length ? bytes : bytes.subarray(0, done);
  }

  /** Fills `bytes` from `offset` on; returns how many there were. */
  readInto(bytes: Uint8Array, offset: number): number {
    let done = 0;
    try {
      while (done < bytes.length) {
        const count = readSync(this.fd, bytes, done, bytes.length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
    } catch (error) {
      throw asReadError(this.path, error);
    }
    return done;
  }

  close(): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
  }
}

function asReadError(path: string, error: unknown): AudioReadError {
  if (error instanceof AudioReadError) return error;
  const code = (error as NodeJS.ErrnoException).code;
  const reasons: Record<string, string> = {
    ENOENT: "there is no such file",
    EACCES: "permission denied",
    ELOOP: "too many symbolic links",
    EIO: "the disk reports an input/output error",
  };
  return new AudioReadError(path, (code && reasons[code]) || (error as Error).message);
}
