/** Memory of the machine, as far as this process may use it. */
import { freemem } from "node:os";

/** Bytes that can still be taken without swapping, limits of a container counted. */
export function availableMemory(): number {
  // Node 20.13 and later; before, the machine's free memory
  const { availableMemory: available } = process as { availableMemory?: () => number };
  return available ? available.call(process) : freemem();
}
