/** Memory of the machine, as far as this process may use it. */
import { freemem } from "node:os";

/** Bytes that can still be taken without swapping, limits of a container counted. */
export function availableMemory(): number {
  // Node 20.13 and later; before, the machine's free memory
  const { availableMemory: available } = process as { availableMemory?: () => number };
  return available ? available.call(process) : freemem();
}

/** Whether TensorFlow found no memory. */
export function isOutOfMemory(error: unknown): boolean {
  const { message } = error as Error;
  return /OOM when allocating|RESOURCE_EXHAUSTED|ResourceExhausted|out of memory/i.test(message);
}
