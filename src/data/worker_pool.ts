/** Worker threads that read batches of one data set. They never keep the process alive unless someone waits for a batch. */
import type { Worker } from "node:worker_threads";
import { UserError } from "../errors.ts";
import { startWorker } from "../worker_thread.ts";
import type { SegmentInfo } from "./audio_dataset.ts";
import type { Batch, ReadReport } from "./batch.ts";
import type { DatasetSpec } from "./dataset_spec.ts";

/** To a worker: read the items `indices` of `epoch`; or forget all tasks before `cancelBefore`. */
export type WorkerRequest = { task: number; indices: Uint32Array; epoch: number } | { cancelBefore: number };

/** From a worker. */
export type WorkerReply =
  | { task: number; batch: Batch; report: ReadReport; sentAt: number }
  | { task: number; error: { name: string; message: string; stack?: string } }
  | { warning: string; path: string };

interface Events {
  /** `transferSeconds`: from the worker's sending to the receipt here. */
  onRead: (report: ReadReport, transferSeconds: number) => void;
  onWarning: (message: string, path: string) => void;
}

interface Pending<Info extends SegmentInfo> {
  resolve: (batch: Batch<Info>) => void;
  reject: (error: Error) => void;
}

export class WorkerPool<Info extends SegmentInfo> {
  private readonly workers: Worker[];
  private readonly events: Events;
  private readonly pending = new Map<number, Pending<Info>>();
  private nextTask = 0;
  private failure: Error | undefined;
  private closing = false;

  constructor(spec: DatasetSpec, count: number, events: Events) {
    this.events = events;
    this.workers = Array.from({ length: count }, () => this.start(spec));
  }

  /** Batch number `i` of an epoch goes to worker i mod count, so that each knows its work before it is needed. */
  read(i: number, indices: Uint32Array, epoch: number): Promise<Batch<Info>> {
    const task = this.nextTask++;
    const worker = this.workers[i % this.workers.length];
    const result = new Promise<Batch<Info>>((resolve, reject) => {
      if (this.failure) return reject(this.failure);
      this.pending.set(task, { resolve, reject });
      worker.postMessage({ task, indices, epoch } satisfies WorkerRequest);
    });
    // Whoever waits for the batch gets the error; nobody may be waiting yet.
    result.catch(() => {});
    return result;
  }

  /** Waits for a result of `read`, keeping the process alive meanwhile. */
  async waitFor(result: Promise<Batch<Info>>): Promise<Batch<Info>> {
    for (const worker of this.workers) worker.ref();
    try {
      return await result;
    } finally {
      for (const worker of this.workers) worker.unref();
    }
  }

  /** Drops all tasks given so far. */
  cancel(): void {
    if (this.pending.size === 0) return;
    this.pending.clear();
    for (const worker of this.workers)
      worker.postMessage({ cancelBefore: this.nextTask } satisfies WorkerRequest);
  }

  async close(): Promise<void> {
    this.closing = true;
    this.pending.clear();
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }

  private start(spec: DatasetSpec): Worker {
    const worker = startWorker(new URL("./worker.ts", import.meta.url), spec);
    worker.on("message", (reply: WorkerReply) => this.receive(reply));
    worker.on("error", (error) => this.fail(error as Error));
    worker.on("exit", (code) => {
      if (!this.closing) this.fail(new Error(`a data worker ended unexpectedly (exit code ${code})`));
    });
    worker.unref();
    return worker;
  }

  private receive(reply: WorkerReply): void {
    if ("warning" in reply) {
      this.events.onWarning(reply.warning, reply.path);
      return;
    }
    const pending = this.pending.get(reply.task);
    if (!pending) return;
    this.pending.delete(reply.task);
    if ("error" in reply) {
      pending.reject(revive(reply.error));
    } else {
      this.events.onRead(reply.report, (Date.now() - reply.sentAt) / 1000);
      pending.resolve(reply.batch as Batch<Info>);
    }
  }

  private fail(error: Error): void {
    this.failure ??= error;
    for (const { reject } of this.pending.values()) reject(this.failure);
    this.pending.clear();
  }
}

/** The error of a worker, as this thread would have thrown it. */
function revive({ name, message, stack }: { name: string; message: string; stack?: string }): Error {
  if (name === "UserError") return new UserError(message);
  const error = new Error(`in a data worker: ${message}`);
  if (stack) error.stack = stack;
  return error;
}
