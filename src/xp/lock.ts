/** A lock on a folder: a file that names the process holding it. A dead process's lock is taken over. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { UserError } from "../errors.ts";

interface Holder {
  pid: number;
  host: string;
  /** Start of the process in the kernel's clock: a process number may be used again. */
  start: string;
}

export class FolderLock {
  readonly #file: string;
  readonly #content: string;
  #held = true;

  private constructor(file: string, content: string) {
    this.#file = file;
    this.#content = content;
    process.once("exit", () => this.release());
  }

  /** Takes the lock of `dir`. Throws UserError that names the holder when a living process has it. */
  static take(dir: string, what: string): FolderLock {
    const file = path.join(dir, ".lock");
    const content = JSON.stringify({
      pid: process.pid,
      host: os.hostname(),
      start: processStart(process.pid) ?? "",
    });
    const own = `${file}.${process.pid}.${Date.now()}`;
    fs.writeFileSync(own, content);
    try {
      for (let attempt = 0; attempt < 10; attempt++) {
        // A link appears with its content or not at all, and fails if the name exists.
        if (link(own, file)) return new FolderLock(file, content);
        const before = readText(file);
        if (before === undefined) continue;
        const holder = parseHolder(before);
        if (holder && isAlive(holder)) {
          throw new UserError(
            `${what} is in use by process ${holder.pid} on ${holder.host}; wait for it, or stop it. (Lock: ${file})`,
          );
        }
        discard(file, before);
      }
    } finally {
      fs.rmSync(own, { force: true });
    }
    throw new UserError(`could not take the lock ${file}: others keep taking it`);
  }

  /** The living process that holds the lock of `dir`, if there is one. */
  static holder(dir: string): { pid: number; host: string } | undefined {
    const text = readText(path.join(dir, ".lock"));
    const holder = text === undefined ? undefined : parseHolder(text);
    return holder && isAlive(holder) ? holder : undefined;
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    if (readText(this.#file) === this.#content) fs.rmSync(this.#file, { force: true });
  }
}

/** Removes a dead process's lock, unless another process has replaced it since `content` was read. */
function discard(file: string, content: string): void {
  const aside = `${file}.stale.${process.pid}.${Date.now()}`;
  try {
    fs.renameSync(file, aside);
  } catch {
    return;
  }
  if (readText(aside) !== content) link(aside, file);
  fs.rmSync(aside, { force: true });
}

function isAlive(holder: Holder): boolean {
  // Processes of other machines cannot be seen from here.
  if (holder.host !== os.hostname()) return true;
  const start = processStart(holder.pid);
  return start !== undefined && (holder.start === "" || start === holder.start);
}

/** Start time of a process from /proc; undefined when it does not run (or has ended and is not yet reaped). */
function processStart(pid: number): string | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  // The name, in parentheses, may contain blanks; the state follows it, the start time is the 22nd field.
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields && fields[0] !== "Z" && fields[0] !== "X" ? fields[19] : undefined;
}

function parseHolder(text: string): Holder | undefined {
  try {
    const holder = JSON.parse(text);
    return typeof holder?.pid === "number" ? holder : undefined;
  } catch {
    return undefined;
  }
}

function link(from: string, to: string): boolean {
  try {
    fs.linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new UserError(`cannot create the lock ${to}: ${(error as Error).message}`);
  }
}

function readText(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
