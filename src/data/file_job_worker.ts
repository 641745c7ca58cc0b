/** A thread that performs a job on the files that it is given. */
import { parentPort, workerData } from "node:worker_threads";
import { runnable } from "../modules.ts";
import type { WorkerStart } from "../worker_thread.ts";
import { attempt, type JobModule, type JobReply, type JobRequest, type JobStart } from "./file_jobs.ts";

const { module, args } = (workerData as WorkerStart<JobStart<unknown>>).data;
const job: JobModule<unknown, unknown> = await import(runnable(module));

parentPort!.on("message", async ({ first, paths }: JobRequest) => {
  for (const [i, path] of paths.entries()) {
    const outcome = await attempt(job, path, args);
    const reply: JobReply<unknown> = { index: first + i, outcome, last: i === paths.length - 1 };
    parentPort!.postMessage(reply);
  }
});
