/** Worker threads that run a TypeScript module of ours. */
import { Worker } from "node:worker_threads";
import { type CompiledPlace, compiledPlace, runnable } from "./modules.ts";

/** What a worker's module finds in `workerData`. */
export interface WorkerStart<Data> {
  module: string;
  /** Where this program runs from, unless from its sources. */
  compiled: CompiledPlace | undefined;
  data: Data;
}

/**
 * Starts `module` in a thread. The start file brings TypeScript to the thread itself, however the main thread got it; flags
 * that the main thread was started with (test runner, loaders) do not belong there.
 */
export function startWorker<Data>(module: URL, data: Data): Worker {
  const workerData: WorkerStart<Data> = {
    module: runnable(module.href),
    compiled: compiledPlace(),
    data,
  };
  return new Worker(new URL("./worker_start.mjs", import.meta.url), { workerData, execArgv: [] });
}
