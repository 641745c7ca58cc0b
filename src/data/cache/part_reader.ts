/** Reads parts of audio files in worker threads, while this thread runs the codec. */
import type { Worker } from "node:worker_threads";
import { startWorker } from "../../worker_thread.ts";
import { AudioReadError } from "../audio/audio.ts";
import type { AudioMeta } from "../manifest.ts";
import { type AudioPart, type CodecForm, readPart } from "./audio_parts.ts";

export interface PartRequest {
  task: number;
  meta: AudioMeta;
  part: number;
}

export type PartReply =
  | { task: number; value: AudioPart }
  | { task: number; message: string; unreadable: { path: string; reason: string } | null };

interface Pending {
  resolve: (part: AudioPart) => void;
  reject: (error: Error) => void;
}

export class PartReader {
  private readonly form: CodecForm;
  private readonly workers: Worker[];
  private readonly pending = new Map<number, Pending>();
  private next = 0;

  /** With 0 workers, this thread reads. */
  constructor(form: CodecForm, workers: number) {
    this.form = form;
    this.workers = Array.from({ length: workers }, () => this.start());
  }

  /** @throws AudioReadError */
  read(meta: AudioMeta, part: number): Promise<AudioPart> {
    if (this.workers.length === 0) return readPart(meta, part, this.form);
    const task = this.next++;
    const result = new Promise<AudioPart>((resolve, reject) => {
      this.pending.set(task, { resolve, reject });
      this.workers[task % this.workers.length].postMessage({ task, meta, part } satisfies PartRequest);
    });
    // it may be a while before someone waits for it
    result.catch(() => {});
    return result;
  }

  async close(): Promise<void> {
    this.pending.clear();
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }

  private start(): Worker {
    const worker = startWorker(new URL("./part_worker.ts", import.meta.url), this.form);
    worker.on("message", (reply: PartReply) => this.receive(reply));
    worker.on("error", (error) => this.fail(error as Error));
    worker.on("exit", (code) => this.fail(new Error(`a thread that reads audio ended (exit code ${code})`)));
    return worker;
  }

  private receive(reply: PartReply): void {
    const pending = this.pending.get(reply.task);
    this.pending.delete(reply.task);
    if ("value" in reply) pending?.resolve(reply.value);
    else {
      const { message, unreadable } = reply;
      pending?.reject(
        unreadable ? new AudioReadError(unreadable.path, unreadable.reason) : new Error(message),
      );
    }
  }

  private fail(error: Error): void {
    for (const { reject } of this.pending.values()) reject(error);
    this.pending.clear();
  }
}
