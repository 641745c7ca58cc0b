/** A file that is read at given positions, and never beyond its end. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { UserError } from "../errors.ts";

/** One read at most: larger ones are cut into these. */
const CHUNK = 1 << 30;

export class ByteFile {
  readonly path: string;
  readonly size: number;
  private descriptor: number | null;

  /** @throws UserError when there is no such file, or none that can be read */
  constructor(path: string) {
    this.path = path;
    try {
      this.descriptor = openSync(path, "r");
    } catch (error) {
      throw new UserError(`${path}: cannot open: ${(error as Error).message}`);
    }
    const stats = fstatSync(this.descriptor);
    this.size = stats.size;
    if (!stats.isFile()) {
      this.close();
      throw new UserError(`${path}: not a file`);
    }
  }

  /** Fresh bytes. @throws UserError when the file ends before them */
  bytes(position: number, length: number): Uint8Array<ArrayBuffer> {
    if (this.descriptor === null) throw new Error(`${this.path} is closed`);
    // what the file cannot hold is not allocated
    if (position < 0 || length < 0 || position + length > this.size) {
      throw new UserError(
        `${this.path}: cut short: it should have at least ${position + length} bytes, it has ${this.size}; ` +
          "copy or download it again",
      );
    }
    const bytes = new Uint8Array(new ArrayBuffer(length));
    for (let done = 0; done < length; ) {
      const count = readSync(this.descriptor, bytes, done, Math.min(CHUNK, length - done), position + done);
      if (count === 0) throw new UserError(`${this.path}: became shorter while it was read`);
      done += count;
    }
    return bytes;
  }

  /** The same for what is small. */
  read(position: number, length: number): Buffer<ArrayBuffer> {
    return Buffer.from(this.bytes(position, length).buffer);
  }

  close(): void {
    if (this.descriptor !== null) closeSync(this.descriptor);
    this.descriptor = null;
  }
}

/** What a file is that begins so and is often taken for weights; null when it is something else. */
export function mistakenForWeights(start: Buffer): string | null {
  const text = start.toString("latin1");
  if (text.startsWith("version https://git-lfs")) {
    return "it is a Git LFS pointer; run `git lfs pull` in the repository that it came from";
  }
  return /^\s*<(!doctype|html)/i.test(text) ? "it is a web page, most likely a failed download" : null;
}
