/** How much of the processor others use: a benchmark shares caches, memory and clock rate with them, not only cores. */
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

/** Above this many cores used by others, figures say more about them than about us. */
export const TOLERATED_CORES = 0.1;

/** Jiffies per second: fixed in Linux's interface to programs. */
const HERTZ = 100;

interface Moment {
  /** Seconds. */
  time: number;
  busy: number;
  own: number;
}

/**
 * Starts to watch; the function returned tells how many cores others have used on average since. Processes that this one has started
 * are its own, if they end in between.
 */
export function watchOthers(): () => number {
  const from = moment();
  return () => othersBetween(from, moment());
}

/** Cores used by others during the next second or so, in which this process should do nothing. */
export async function othersNow(seconds = 1): Promise<number> {
  const others = watchOthers();
  await setTimeout(1000 * seconds);
  return others();
}

export function othersBetween(from: Moment, to: Moment): number {
  return Math.max(0, (to.busy - from.busy - (to.own - from.own)) / (to.time - from.time));
}

function moment(): Moment {
  return {
    time: performance.now() / 1000,
    busy: busySeconds(readFileSync("/proc/stat", "utf8")),
    own: ownSeconds(readFileSync("/proc/self/stat", "utf8")),
  };
}

/** Processor seconds of a process and of those it started, as far as they have ended. */
export function ownSeconds(procSelfStat: string): number {
  // after the name in brackets: state …, 11 fields on utime stime cutime cstime
  const fields = procSelfStat.slice(procSelfStat.lastIndexOf(")") + 2).split(" ");
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / HERTZ;
}

/** Processor seconds of all programs since the start of the system, those given to other virtual machines included. */
export function busySeconds(procStat: string): number {
  // cpu user nice system idle iowait irq softirq steal …
  const [user, nice, system, , , , , steal] = (/^cpu\s+(.*)$/m.exec(procStat)?.[1] ?? "")
    .split(" ")
    .map(Number);
  return (user + nice + system + (steal ?? 0)) / HERTZ;
}
