/** The thread of a BackgroundWriter: takes files' tensors as they come and writes them. */
import { parentPort } from "node:worker_threads";
import type { WriteOrder, WriteReply } from "./background_writer.ts";
import { writeSafetensors } from "./safetensors.ts";

const port = parentPort!;
let arrived: Uint8Array[] = [];
let wake: () => void = () => {};

port.on("message", (message: WriteOrder | Uint8Array) => {
  if (message instanceof Uint8Array) {
    arrived.push(message);
    wake();
  } else {
    arrived = []; // what a failed file did not take
    void write(message);
  }
});

async function write({ path, tensors, metadata }: WriteOrder): Promise<void> {
  try {
    const sources = tensors.map((tensor) => ({ ...tensor, data: nextTensor }));
    await writeSafetensors(path, sources, metadata);
    send({ done: true });
  } catch (error) {
    const { name, message } = error as Error;
    send({ error: { name, message } });
  }
}

async function nextTensor(): Promise<Uint8Array> {
  while (arrived.length === 0) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  const bytes = arrived.shift()!;
  send({ taken: bytes.byteLength });
  return bytes;
}

function send(reply: WriteReply): void {
  port.postMessage(reply);
}
