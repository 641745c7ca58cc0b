/** The machine that figures were measured on, for those who read them on another one. */
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { processorFeatures } from "../doctor/machine.ts";

export interface MachineFacts {
  /** For file names. */
  name: string;
  processor: string;
  cores: number;
  features: string[];
  /** As the first core sees them, such as "L1d 32K". */
  caches: string[];
  memoryBytes: number;
  system: string;
}

export function machineFacts(): MachineFacts {
  const processor = cpus()[0]?.model.trim() ?? "unknown processor";
  const cores = availableParallelism();
  return {
    name: `${slug(processor)}-${cores}cores`,
    processor,
    cores,
    features: processorFeatures(readFileSync("/proc/cpuinfo", "utf8")),
    caches: caches("/sys/devices/system/cpu/cpu0/cache"),
    memoryBytes: totalmem(),
    system: `Linux ${release()}`,
  };
}

export function machineText({ processor, cores, features, caches, memoryBytes }: MachineFacts): string {
  const parts = [
    `${processor}, ${cores} cores`,
    features.join(" ") || "features unknown",
    ...(caches.length > 0 ? [caches.join(", ")] : []),
    `${(memoryBytes / 2 ** 30).toFixed(0)} GiB of memory`,
  ];
  return parts.join("; ");
}

/** Letters, digits and single dashes. */
export function slug(text: string): string {
  return text
    .toLowerCase()
    .replace(/\((r|tm)\)|processor|\bcpu\b/g, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
}

function caches(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.startsWith("index"))
      .sort()
      .map((name) => {
        const read = (file: string) => readFileSync(`${folder}/${name}/${file}`, "utf8").trim();
        const kind = { Data: "d", Instruction: "i" }[read("type")] ?? "";
        return `L${read("level")}${kind} ${read("size")}`;
      });
  } catch {
    return []; // virtual machines may not tell
  }
}
