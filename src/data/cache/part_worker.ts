/** A thread that decodes and resamples parts of audio files. */
import { parentPort, workerData } from "node:worker_threads";
import type { WorkerStart } from "../../worker_thread.ts";
import { AudioReadError } from "../audio/audio.ts";
import { type CodecForm, readPart } from "./audio_parts.ts";
import type { PartReply, PartRequest } from "./part_reader.ts";

const form = (workerData as WorkerStart<CodecForm>).data;

parentPort!.on("message", async ({ task, meta, part }: PartRequest) => {
  try {
    const value = await readPart(meta, part, form);
    parentPort!.postMessage({ task, value } satisfies PartReply, [value.wav.buffer]);
  } catch (error) {
    const { message } = error as Error;
    const unreadable = error instanceof AudioReadError ? { path: error.path, reason: error.reason } : null;
    parentPort!.postMessage({ task, message, unreadable } satisfies PartReply);
  }
});
