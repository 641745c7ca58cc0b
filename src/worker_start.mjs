/** Starts a worker thread of ours: from the compiled files as the main thread, or with the TypeScript loader in this thread. */
import { workerData } from "node:worker_threads";

const { module, compiled } = workerData;
if (compiled) {
  const { runFrom } = await import("../scripts/launch/run_from.mjs");
  runFrom(compiled);
} else {
  const { register } = await import("tsx/esm/api");
  register();
}
await import(module);
