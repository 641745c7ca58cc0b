/** Ctrl-C and a scheduler's SIGTERM or SIGUSR1: the step under way is finished, the checkpoint written, then the run ends. */

/** Thrown out of the stage loop when a signal asked the run to end; not an error. */
export class Interrupted extends Error {
  override name = "Interrupted";
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.signal = signal;
  }
}

/** Remembers the first signal; a second Ctrl-C ends the process at once. */
export class SignalWatch {
  private received: NodeJS.Signals | null = null;
  private readonly onSignal: (signal: NodeJS.Signals) => void;

  constructor(notify: (message: string) => void) {
    this.onSignal = (signal) => {
      if (this.received === null) {
        this.received = signal;
        notify(
          `${signal}: finishing this step and writing the checkpoint (Ctrl-C again: end at once, without)`,
        );
      } else if (signal === "SIGINT") {
        process.exit(130);
      }
    };
    for (const signal of signals) process.on(signal, this.onSignal);
  }

  /** Throws Interrupted when a signal has come. */
  check(): void {
    if (this.received !== null) throw new Interrupted(this.received);
  }

  close(): void {
    for (const signal of signals) process.off(signal, this.onSignal);
  }
}

const signals: NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGUSR1"];
