/**
 * What a measuring process reports. Every measurement runs in a process of its own, ours (child.ts) as well as the peers' (bench/peers),
 * so that its peak memory is its own; its last line of output is this as JSON.
 */
import { readFileSync } from "node:fs";
import { UserError } from "../errors.ts";

export interface Measurement {
  /** Seconds of each run after the warm-up, by what was done. */
  series: Record<string, number[]>;
  /** The most memory that the process that did the work has held. */
  peakBytes: number;
  /** What tells whether two programs did the same: numbers of parameters, of frames, … */
  facts: Record<string, number>;
  versions: Record<string, string>;
}

export interface Repeats {
  runs: number;
  warmup: number;
}

/** Seconds of each run of `work` after the warm-up. */
export async function timed(work: () => unknown, { runs, warmup }: Repeats): Promise<number[]> {
  const seconds: number[] = [];
  for (let run = 0; run < warmup + runs; run++) {
    const began = performance.now();
    await work();
    if (run >= warmup) seconds.push((performance.now() - began) / 1000);
  }
  return seconds;
}

/** The most memory that a process has held, in bytes; 0 when it is gone. */
export function peakBytes(pid: number | "self" = "self"): number {
  try {
    return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Reads the last line of a measuring process's output. @throws UserError when it is none, naming `program` */
export function parseMeasurement(output: string, program: string): Measurement {
  const line = output.trimEnd().split("\n").at(-1) ?? "";
  try {
    const { series, peakBytes, facts, versions } = JSON.parse(line);
    const times = Object.values(series as Record<string, number[]>);
    if (times.length === 0 || !times.flat().every((seconds) => seconds > 0)) throw new TypeError();
    return { series, peakBytes, facts: facts ?? {}, versions: versions ?? {} };
  } catch {
    throw new UserError(`${program} has measured nothing; its last line is: ${line.slice(0, 200)}`);
  }
}
