/** Starts a worker thread of ours: registers the TypeScript loader in this thread, then runs the module that was asked for. */
import { workerData } from "node:worker_threads";
import { register } from "tsx/esm/api";

register();
await import(workerData.module);
