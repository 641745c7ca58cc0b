/** Bytes to standard output, no faster than they are read there. */
import { UserError } from "../errors.ts";

export class StandardOutput {
  private readonly closed = new AbortController();

  constructor() {
    // a player that is closed ends the pipe: no failure, only the end of the work
    const close = () => this.closed.abort(new OutputClosed());
    process.stdout.once("error", close);
    process.stdout.once("close", close);
  }

  /** Aborts when the reader has gone away. */
  get signal(): AbortSignal {
    return this.closed.signal;
  }

  /** Resolves when there is room for more. @throws OutputClosed when nobody reads any more */
  async write(bytes: Uint8Array): Promise<void> {
    this.signal.throwIfAborted();
    if (process.stdout.write(bytes)) return;
    await new Promise<void>((resolve, reject) => {
      const fail = () => reject(this.signal.reason);
      this.signal.addEventListener("abort", fail, { once: true });
      process.stdout.once("drain", () => {
        this.signal.removeEventListener("abort", fail);
        resolve();
      });
    });
  }

  /** @throws UserError when standard output is a terminal, which audio would only garble */
  static requirePipe(): void {
    if (process.stdout.isTTY)
      throw new UserError(
        "standard output is a terminal: pipe it into a player (npm run --silent generate -- … | aplay) or a file",
      );
  }
}

/** The reader of standard output has gone away. */
export class OutputClosed extends Error {
  override name = "OutputClosed";
}
