/** A data worker: reads the batches that the main thread asks for, one after the other. */
import { setImmediate } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import type { WorkerStart } from "../worker_thread.ts";
import type { AudioDataset, SegmentInfo } from "./audio_dataset.ts";
import { readTimed } from "./batch.ts";
import { type DatasetSpec, openDataset } from "./dataset_spec.ts";
import type { WorkerReply, WorkerRequest } from "./worker_pool.ts";

type Task = Extract<WorkerRequest, { task: number }>;

const port = parentPort!;
const queue: Task[] = [];
let dataset: AudioDataset<SegmentInfo> | undefined;
let running = false;

port.on("message", (request: WorkerRequest) => {
  if ("cancelBefore" in request) {
    const kept = queue.filter(({ task }) => task >= request.cancelBefore);
    queue.splice(0, queue.length, ...kept);
    return;
  }
  queue.push(request);
  if (!running) void run();
});

async function run(): Promise<void> {
  running = true;
  for (let task = queue.shift(); task; task = queue.shift()) {
    await perform(task);
    // Lets cancellations in: reading itself may never return to the event loop.
    await setImmediate();
  }
  running = false;
}

async function perform({ task, indices, epoch }: Task): Promise<void> {
  try {
    dataset ??= openDataset((workerData as WorkerStart<DatasetSpec>).data, (warning, path) =>
      send({ warning, path }),
    );
    const { batch, report } = await readTimed(dataset, indices, epoch);
    const arrays = batch.codes ? [batch.wav.buffer, batch.codes.values.buffer] : [batch.wav.buffer];
    send({ task, batch, report, sentAt: Date.now() }, arrays);
  } catch (error) {
    const { name, message, stack } = error as Error;
    send({ task, error: { name, message, stack } });
  }
}

function send(reply: WorkerReply, transfer: ArrayBuffer[] = []): void {
  port.postMessage(reply, transfer);
}
