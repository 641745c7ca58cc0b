/**
 * The hang detector (`deadlock.use`, `deadlock.timeout`): a thread that waits for signs of progress. When none comes for too
 * long it writes down where the process stands, and kills it, so that a scheduler starts it again.
 */
import type { Worker } from "node:worker_threads";
import { startWorker } from "../worker_thread.ts";

export interface WatchdogOrder {
  /** One counter of signs of progress, and a number for the last of them. */
  shared: SharedArrayBuffer;
  /** What the numbers stand for. */
  names: readonly string[];
  seconds: number;
  /** The report goes here, too. */
  file: string;
}

export const progressNames = [
  "start",
  "batch",
  "step",
  "valid",
  "evaluate",
  "generate",
  "checkpoint",
] as const;
export type ProgressName = (typeof progressNames)[number];

export class Watchdog {
  private readonly state: Int32Array;
  private readonly worker: Worker;

  constructor({ seconds, file }: { seconds: number; file: string }) {
    const shared = new SharedArrayBuffer(8);
    this.state = new Int32Array(shared);
    const order: WatchdogOrder = { shared, names: progressNames, seconds, file };
    this.worker = startWorker(new URL("./watchdog_thread.ts", import.meta.url), order);
    this.worker.unref();
  }

  /** A sign of progress: `name` has just been finished. */
  beat(name: ProgressName): void {
    Atomics.store(this.state, 1, progressNames.indexOf(name));
    this.progress();
  }

  /** A sign of progress inside of what comes after the last `beat`. */
  progress(): void {
    Atomics.add(this.state, 0, 1);
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }
}
