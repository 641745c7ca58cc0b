/**
 * Writes safetensors files while training goes on: a thread computes checksums and writes, the main thread only copies
 * tensors to it, a few at a time, within the time that it is given.
 */
import type { Worker } from "node:worker_threads";
import { UserError } from "../errors.ts";
import { startWorker } from "../worker_thread.ts";
import { type Dtype, encode } from "./dtypes.ts";
import { inFileOrder, type TensorSource } from "./safetensors.ts";

/** To the thread: what to write; then come its tensors, as bytes, in that order. */
export interface WriteOrder {
  path: string;
  tensors: { name: string; dtype: Dtype; shape: readonly number[] }[];
  metadata: Readonly<Record<string, string>>;
}

/** From the thread. */
export type WriteReply = { taken: number } | { done: true } | { error: { name: string; message: string } };

/** Bytes on their way to the thread at most. */
const IN_FLIGHT = 256 << 20;

/** The thread; one file at a time. It does not keep the process alive unless someone waits for a file. */
export class BackgroundWriter {
  private worker: Worker | null = null;
  private current: BackgroundWrite | null = null;
  private readonly onProgress: () => void;

  /** `onProgress` is called whenever a tensor has been written. */
  constructor(onProgress: () => void = () => {}) {
    this.onProgress = onProgress;
  }

  /**
   * Begins a file. The one that was there stays until all of the new one is on the disk.
   * `data` of each source is called once, and its array given away.
   */
  begin(
    path: string,
    sources: readonly TensorSource[],
    metadata: Readonly<Record<string, string>> = {},
  ): BackgroundWrite {
    if (this.current && !this.current.isDone) throw new Error("a file is being written already");
    this.worker ??= this.start();
    this.current = new BackgroundWrite(this.worker, path, sources, metadata);
    return this.current;
  }

  async close(): Promise<void> {
    await this.worker?.terminate();
  }

  private start(): Worker {
    const worker = startWorker(new URL("./background_thread.ts", import.meta.url), null);
    worker.on("message", (reply: WriteReply) => {
      this.current?.receive(reply);
      this.onProgress();
    });
    worker.on("error", (error: Error) => this.lost(error));
    worker.on("exit", (code) => this.lost(new Error(`the thread that writes checkpoints ended (${code})`)));
    worker.unref();
    return worker;
  }

  private lost(error: Error): void {
    this.worker = null;
    this.current?.receive({ error });
  }
}

/** A file on its way to the disk. */
export class BackgroundWrite {
  /** Settles when the file is in place. @throws UserError with cause and remedy when the disk refuses */
  readonly done: Promise<void>;
  private readonly worker: Worker;
  private readonly sources: TensorSource[];
  private next = 0;
  private inFlight = 0;
  private settle: { resolve: () => void; reject: (error: Error) => void } | null = null;
  private wake: () => void = () => {};

  constructor(
    worker: Worker,
    path: string,
    sources: readonly TensorSource[],
    metadata: Readonly<Record<string, string>>,
  ) {
    this.worker = worker;
    this.sources = inFileOrder(sources);
    const tensors = this.sources.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
    worker.postMessage({ path, tensors, metadata } satisfies WriteOrder);
    this.done = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.done.catch(() => {}); // whoever needs the result waits for it later
  }

  get isDone(): boolean {
    return this.settle === null;
  }

  /** Copies tensors to the thread for about `milliseconds`, at least one if there is room. */
  async feed(milliseconds: number): Promise<void> {
    const until = performance.now() + milliseconds;
    while (this.next < this.sources.length && this.inFlight < IN_FLIGHT && !this.isDone) {
      const { dtype, data } = this.sources[this.next++];
      const bytes = encode(dtype, await data());
      this.inFlight += bytes.byteLength;
      const whole = bytes.byteLength === bytes.buffer.byteLength;
      this.worker.postMessage(bytes, whole ? [bytes.buffer as ArrayBuffer] : []);
      if (performance.now() >= until) return;
    }
  }

  /** Hands over all that is left and waits until the file is in place. */
  async finish(): Promise<void> {
    this.worker.ref();
    try {
      while (this.next < this.sources.length && !this.isDone) {
        const room = new Promise<void>((resolve) => {
          this.wake = resolve;
        });
        await this.feed(Number.POSITIVE_INFINITY);
        if (this.next < this.sources.length && !this.isDone) await room;
      }
      await this.done;
    } finally {
      this.worker.unref();
    }
  }

  receive(reply: WriteReply): void {
    if (this.settle === null) return;
    if ("taken" in reply) this.inFlight -= reply.taken;
    else {
      const { resolve, reject } = this.settle;
      this.settle = null;
      for (const { release } of this.sources.slice(this.next)) release?.();
      if ("error" in reply) reject(revive(reply.error));
      else resolve();
    }
    this.wake();
  }
}

/** The error of the thread, as this one would have thrown it. */
function revive({ name, message }: { name: string; message: string }): Error {
  return name === "UserError" ? new UserError(message) : new Error(message);
}
