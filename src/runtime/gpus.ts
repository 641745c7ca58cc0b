/** Which GPUs there are, without loading TensorFlow. */
import { readdirSync } from "node:fs";
import { UserError } from "../errors.ts";
import type { Device } from "./options.ts";

/** The driver has a folder for each GPU here. */
const DRIVER_FOLDER = "/proc/driver/nvidia/gpus";

/** How many GPUs a process may use: those of the driver, or fewer by CUDA_VISIBLE_DEVICES. 0 without a driver. */
export function visibleGpus(env: NodeJS.ProcessEnv = process.env, folder = DRIVER_FOLDER): number {
  let present = 0;
  try {
    present = readdirSync(folder).length;
  } catch {}
  const chosen = env.CUDA_VISIBLE_DEVICES;
  if (chosen === undefined) return present;
  // as CUDA reads it: what follows an invalid entry does not count, and nothing, or -1, hides them all
  const entries = chosen.split(",").map((entry) => entry.trim());
  const invalid = entries.findIndex((entry) => entry === "" || entry.startsWith("-"));
  return Math.min(present, invalid < 0 ? entries.length : invalid);
}

/**
 * `cuda:1` has to be there, while `cuda` means a GPU or else the CPU. `isGpu`: what TensorFlow found.
 * @throws UserError that says what is missing
 */
export function checkGpuIsThere(device: Device, isGpu: boolean, env: NodeJS.ProcessEnv = process.env): void {
  if (!device.startsWith("cuda:") || isGpu) return;
  throw new UserError(`device=${device}: ${whyNoGpu(device, visibleGpus(env), env)}`);
}

/** The same before TensorFlow is loaded, which would fail with a text of its own. */
export function checkGpuNumber(device: Device, count: number, env: NodeJS.ProcessEnv = process.env): void {
  const number = Number(device.split(":")[1] ?? 0);
  if (device.startsWith("cuda:") && number >= count)
    throw new UserError(`device=${device}: ${whyNoGpu(device, count, env)}`);
}

function whyNoGpu(device: Device, count: number, env: NodeJS.ProcessEnv): string {
  const chosen = env.CUDA_VISIBLE_DEVICES;
  const limit = chosen === undefined ? "" : ` (CUDA_VISIBLE_DEVICES=${chosen})`;
  if (count === 0)
    return `this machine shows no NVIDIA GPU${limit}; use device=cpu, or see \`npm run doctor\``;
  if (Number(device.split(":")[1]) >= count) {
    return count === 1
      ? `there is one GPU${limit}: use device=cuda`
      : `there are ${count} GPUs${limit}, cuda:0 to cuda:${count - 1}`;
  }
  return `TensorFlow cannot use the GPU; \`npm run doctor\` says more, and device=cpu does without it`;
}
