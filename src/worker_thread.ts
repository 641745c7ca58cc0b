/** Worker threads that run a TypeScript module of ours. */
import { Worker } from "node:worker_threads";

/** What a worker's module finds in `workerData`. */
export interface WorkerStart<Data> {
  module: string;
  data: Data;
}

/**
 * Starts `module` in a thread. The start file brings TypeScript to the thread itself, however the main thread got it; flags
 * that the main thread was started with (test runner, loaders) do not belong there.
 */
export function startWorker<Data>(module: URL, data: Data): Worker {
  const workerData: WorkerStart<Data> = { module: module.href, data };
  return new Worker(new URL("./worker_start.mjs", import.meta.url), { workerData, execArgv: [] });
}
