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
  readonly #sign: NodeJS.Timeout;
  #held = true;

  private constructor(file: string, content: string) {
    this.#file = file;
    this.#content = content;
    process.once("exit", () => this.release());
    this.#sign = setInterval(() => this.#touch(), SIGN_OF_LIFE).unref();
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
        if (holder && isAlive(holder, file)) {
          throw new UserError(
            `${what} is in use by process ${holder.pid} on ${holder.host}; wait for it, or stop it. (Lock: ${file}; of another machine's process that is gone, it can be removed, and is taken over ${DEAD_AFTER / 60_000} minutes after its last sign of life.)`,
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
    const file = path.join(dir, ".lock");
    const text = readText(file);
    const holder = text === undefined ? undefined : parseHolder(text);
    return holder && isAlive(holder, file) ? holder : undefined;
  }

  #touch(): void {
    try {
      if (readText(this.#file) === this.#content) fs.utimesSync(this.#file, new Date(), new Date());
    } catch {
      // a disk that fails for a moment; the next sign will do
    }
  }

  release(): void {
    if (!this.#held) return;
    this.#held = false;
    clearInterval(this.#sign);
    if (readText(this.#file) === this.#content) fs.rmSync(this.#file, { force: true });
  }
}

/** Milliseconds between two signs of life of a holder, and after which a lock without any is a dead process's. */
const SIGN_OF_LIFE = 30_000;
const DEAD_AFTER = 600_000;

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

function isAlive(holder: Holder, file: string): boolean {
  // Processes of other machines cannot be seen from here, but they touch the file. A job that was killed and queued again on
  // another machine goes on after a while.
  if (holder.host !== os.hostname()) return Date.now() - (modified(file) ?? 0) < DEAD_AFTER;
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

function modified(file: string): number | undefined {
  return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs;
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
