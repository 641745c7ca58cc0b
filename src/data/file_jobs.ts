/** The same job on many files, spread over worker threads. */
import type { Worker } from "node:worker_threads";
import { runnable } from "../modules.ts";
import { startWorker } from "../worker_thread.ts";

/** A module with a job: it exports `perform`. What it takes and gives must be able to travel between threads. */
export interface JobModule<Args, Result> {
  perform(path: string, args: Args): Promise<Result>;
}

export type Outcome<Result> = { value: Result } | { error: string };

export interface JobOptions {
  /** Threads; 0: this one. No more are started than the number of files is worth. */
  workers?: number;
  onProgress?: (done: number, total: number) => void;
}

/** To a worker: files by number. */
export interface JobRequest {
  first: number;
  paths: string[];
}

/** From a worker: one file's outcome; the last one of a request asks for more. */
export interface JobReply<Result> {
  index: number;
  outcome: Outcome<Result>;
  last: boolean;
}

export interface JobStart<Args> {
  module: string;
  args: Args;
}

/** A thread takes a second to start: each should have this many files to read. */
const FILES_PER_WORKER = 24;
const FILES_PER_REQUEST = 8;

/** Outcomes in the order of `paths`: what `perform` of `module` gave or the message of its error. */
export async function runOnFiles<Args, Result>(
  module: URL,
  args: Args,
  paths: readonly string[],
  options: JobOptions = {},
): Promise<Outcome<Result>[]> {
  const workers = Math.min(options.workers ?? 0, Math.floor(paths.length / FILES_PER_WORKER));
  if (workers >= 2) return runInWorkers(module, args, paths, workers, options.onProgress);
  const job: JobModule<Args, Result> = await import(runnable(module.href));
  const outcomes: Outcome<Result>[] = [];
  for (const [i, path] of paths.entries()) {
    outcomes.push(await attempt(job, path, args));
    options.onProgress?.(i + 1, paths.length);
  }
  return outcomes;
}

/** The job on one file; errors become outcomes. */
export async function attempt<Args, Result>(
  job: JobModule<Args, Result>,
  path: string,
  args: Args,
): Promise<Outcome<Result>> {
  try {
    return { value: await job.perform(path, args) };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

async function runInWorkers<Args, Result>(
  module: URL,
  args: Args,
  paths: readonly string[],
  count: number,
  onProgress: JobOptions["onProgress"],
): Promise<Outcome<Result>[]> {
  const outcomes = new Array<Outcome<Result>>(paths.length);
  const start: JobStart<Args> = { module: module.href, args };
  const threads: Worker[] = [];
  let next = 0;
  let done = 0;
  const give = (worker: Worker) => {
    if (next >= paths.length) return;
    const request: JobRequest = { first: next, paths: paths.slice(next, next + FILES_PER_REQUEST) };
    next += request.paths.length;
    worker.postMessage(request);
  };
  try {
    await new Promise<void>((resolve, reject) => {
      for (let i = 0; i < count; i++) {
        const worker = startWorker(new URL("./file_job_worker.ts", import.meta.url), start);
        threads.push(worker);
        worker.on("message", ({ index, outcome, last }: JobReply<Result>) => {
          outcomes[index] = outcome;
          onProgress?.(++done, paths.length);
          if (done === paths.length) resolve();
          else if (last) give(worker);
        });
        worker.on("error", reject);
        worker.on("exit", (code) => reject(new Error(`a thread that reads files ended (exit code ${code})`)));
        give(worker);
      }
    });
  } finally {
    await Promise.all(threads.map((worker) => worker.terminate()));
  }
  return outcomes;
}
