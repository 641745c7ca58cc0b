/** A trace as the JSON that Perfetto (ui.perfetto.dev) and chrome://tracing open. */
import type { Trace } from "./profile.ts";

/** An event of the Trace Event Format: X, a span; C, a counter; M, a name. */
export interface ChromeEvent {
  ph: "X" | "C" | "M";
  name: string;
  pid: number;
  tid?: number;
  cat?: string;
  ts?: number;
  dur?: number;
  args?: Record<string, string | number>;
}

/** The JSON text. Processes are the host and the devices, threads their lanes in the order of the trace. */
export function chromeTrace({ lanes, counters }: Pick<Trace, "lanes" | "counters">): string {
  const processes = [...new Set([...lanes, ...counters].map(({ process }) => process))];
  const pid = (process: string) => processes.indexOf(process) + 1;
  const events: ChromeEvent[] = processes.flatMap((name): ChromeEvent[] => [
    { ph: "M", name: "process_name", pid: pid(name), args: { name } },
    { ph: "M", name: "process_sort_index", pid: pid(name), args: { sort_index: pid(name) } },
  ]);
  for (const [index, lane] of lanes.entries()) {
    const where = { pid: pid(lane.process), tid: index + 1 };
    events.push({ ph: "M", name: "thread_name", ...where, args: { name: lane.name } });
    events.push({ ph: "M", name: "thread_sort_index", ...where, args: { sort_index: index } });
    for (const { name, kind, start, duration, args } of lane.spans) {
      // ends are rounded, not durations: what is nested stays so
      const dur = round(round(start + duration) - round(start));
      events.push({ ph: "X", name, cat: kind, ts: round(start), dur, ...where, args });
    }
  }
  for (const { process, name, time, values } of counters) {
    events.push({ ph: "C", name, pid: pid(process), ts: round(time), args: values });
  }
  const lines = events.map((event) => JSON.stringify(event)).join(",\n");
  return `{"displayTimeUnit":"ms","traceEvents":[\n${lines}\n]}\n`;
}

/** To nanoseconds: what the profiler knows. */
function round(microseconds: number): number {
  return Math.round(microseconds * 1e3) / 1e3;
}
