/** A trace, summed up: how often each type of op ran, and how long. */
import type { Trace } from "./profile.ts";
import { HOST, type Lane, outerFirst, type Span } from "./timeline.ts";

export interface OpTime {
  /** The host, or a device. */
  process: string;
  type: string;
  count: number;
  /** Milliseconds, without those of ops inside of it; summed over threads. */
  total: number;
  /** Of all ops of the process, 0 to 1. */
  share: number;
}

/** Op types by their time, those on devices first. */
export function opTimes({ lanes }: Pick<Trace, "lanes">): OpTime[] {
  const processes = [...new Set(lanes.map(({ process }) => process))];
  const byDevice = processes.map((process) => {
    const own = lanes.filter((lane) => lane.process === process);
    return processTimes(process, own);
  });
  return byDevice.sort((a, b) => Number(a[0]?.process === HOST) - Number(b[0]?.process === HOST)).flat();
}

/** The times as text, one table per process. */
export function opTable(trace: Pick<Trace, "lanes">): string {
  const rows = opTimes(trace);
  const tables = [...new Set(rows.map(({ process }) => process))].map((process) => {
    const own = rows.filter((row) => row.process === process);
    const total = own.reduce((sum, row) => sum + row.total, 0);
    const count = own.reduce((sum, row) => sum + row.count, 0);
    const width = Math.max(8, ...own.map(({ type }) => type.length));
    const line = (type: string, number: string | number, time: string, share: string) =>
      `${type.padEnd(width)} ${String(number).padStart(8)} ${time.padStart(12)} ${share.padStart(7)}`;
    return [
      `${process}: time per type of op, summed over threads`,
      line("type", "count", "total ms", "share"),
      ...own.map((row) => line(row.type, row.count, row.total.toFixed(3), percent(row.share))),
      line("all", count, total.toFixed(3), percent(1)),
    ].join("\n");
  });
  return `${tables.join("\n\n")}\n`;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}

function processTimes(process: string, lanes: Lane[]): OpTime[] {
  const sums = new Map<string, { count: number; total: number }>();
  for (const [type, time] of lanes.flatMap(({ spans }) => selfTimes(spans))) {
    const { count, total } = sums.get(type) ?? { count: 0, total: 0 };
    sums.set(type, { count: count + 1, total: total + time / 1e3 });
  }
  const all = [...sums.values()].reduce((sum, { total }) => sum + total, 0);
  return [...sums]
    .map(([type, { count, total }]) => ({ process, type, count, total, share: total / all }))
    .sort((a, b) => b.total - a.total);
}

/** The ops of a lane, each with its type and its time minus that of the ops directly inside of it, in microseconds. */
function selfTimes(spans: Span[]): [type: string, time: number][] {
  const times: [string, number][] = [];
  const open: { end: number; index: number }[] = [];
  for (const { start, duration, args } of spans.filter(({ kind }) => kind === "op").sort(outerFirst)) {
    while (open.length > 0 && open[open.length - 1].end <= start) open.pop();
    const outer = open.at(-1);
    if (outer) times[outer.index][1] -= duration;
    open.push({ end: start + duration, index: times.push([String(args.type), duration]) - 1 });
  }
  return times;
}
