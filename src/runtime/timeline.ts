/** The lanes of a timeline, made from the planes of TensorFlow's profiler. */
import { hloOpTypes, type OpTypes } from "./hlo_types.ts";
import type { Stats, XEvent, XLine, XPlane } from "./xspace.ts";

/** A span of time on a lane. Times are microseconds since the profile began. */
export interface Span {
  name: string;
  /** `op`: computes something; `phase`: what the main thread is at; `runtime`: anything else that TensorFlow reports. */
  kind: "op" | "phase" | "runtime";
  start: number;
  duration: number;
  /** Of an op: `type` (TensorFlow's), `node` (its name in the graph) or `hlo` (XLA's name), `function` (the jitted one). */
  args: Record<string, string | number>;
}

/** Spans of one thread or GPU stream, in the order of their starts. */
export interface Lane {
  /** The host, or a device. */
  process: string;
  name: string;
  spans: Span[];
}

/** Values that hold from `time` on, in bytes. */
export interface Counter {
  process: string;
  name: string;
  time: number;
  values: Record<string, number>;
}

export const HOST = "host";

/** Spans and memory of the host and of each device. */
export function readPlanes(planes: XPlane[]): { lanes: Lane[]; counters: Counter[] } {
  const types = hloOpTypes(planes);
  const functions = functionsByRun(planes);
  const lanes: Lane[] = [];
  const counters: Counter[] = [];
  for (const plane of planes) {
    const process = plane.name.startsWith("/host") ? HOST : plane.name.replace(/^\/device:/, "");
    for (const line of plane.lines) {
      const { spans, samples } = readLine(line, process, types, functions);
      if (spans.length > 0) lanes.push({ process, name: laneName(line.name, lanes), spans });
      counters.push(...samples);
    }
  }
  return { lanes, counters };
}

function readLine(line: XLine, process: string, types: OpTypes, functions: Map<unknown, string>) {
  const spans: Span[] = [];
  const samples: Counter[] = [];
  let running: { end: number; name: string } | null = null;
  for (const event of line.events.toSorted(outerFirst)) {
    const entered = enteredFunction(event, functions);
    if (entered) running = { end: event.start + event.duration, name: entered };
    if (running && event.start >= running.end) running = null;
    if (/^Memory(Dea|A)llocation$/.test(event.name)) samples.push(memorySample(event));
    else if (isSpan(event)) spans.push(span(event, process, types, running?.name));
  }
  return { spans, samples };
}

/** Scheduling of threads and ends of spans that are reported twice are left out. */
function isSpan({ name, duration }: XEvent): boolean {
  return duration > 0 && name !== "" && !name.startsWith("ThreadpoolListener") && !name.startsWith("end: ");
}

function span(event: XEvent, process: string, types: OpTypes, running: string | undefined): Span {
  const { name, fullName, start, duration, stats } = event;
  const args = readableArgs(stats);
  if (running) args.function = running;
  if (typeof stats.hlo_op === "string") {
    const type = types.get(`${stats.hlo_module}/${stats.hlo_op}`) || withoutNumber(stats.hlo_op);
    if (typeof stats.hlo_module === "string")
      args.function = stats.hlo_module.replace(/__XlaMustCompile.*/, "");
    return {
      name: process === HOST ? withoutNumber(name) : name,
      kind: "op",
      start,
      duration,
      args: { ...args, type, hlo: stats.hlo_op },
    };
  }
  // A call of a function that XLA compiled looks like an op of that name; its ops are inside of it.
  if (name !== running && fullName !== name && fullName.endsWith(`:${name}`)) {
    const node = fullName.slice(0, -name.length - 1);
    return { name, kind: "op", start, duration, args: { ...args, type: name, node } };
  }
  if (process === HOST) return { name, kind: "runtime", start, duration, args };
  const [node, type] = String(stats.tf_op ?? "").split(":"); // a kernel, launched by an op
  return {
    name,
    kind: "op",
    start,
    duration,
    args: { ...args, type: type || name, ...(node ? { node } : {}) },
  };
}

/** An executor's run has an id, which the spans of its threads repeat: which function is it a run of? */
function functionsByRun(planes: XPlane[]): Map<unknown, string> {
  const functions = new Map<unknown, string>();
  for (const line of planes.flatMap((plane) => plane.lines)) {
    let called = "";
    for (const { name, stats } of line.events.toSorted(outerFirst)) {
      if (name === "EagerExecute") called = stats.is_func ? String(stats.eager_op) : "";
      else if (name === "FunctionRun" && called) functions.set(stats.id, called);
    }
  }
  return functions;
}

function enteredFunction({ name, stats }: XEvent, functions: Map<unknown, string>): string | undefined {
  if (name === "EagerExecute" && stats.is_func) return String(stats.eager_op);
  return name === "ExecutorState::Process" ? functions.get(stats.id) : undefined;
}

/** What an allocator has given out, after it gave or took back something. */
function memorySample({ start, stats }: XEvent): Counter {
  const values: Record<string, number> = {};
  if (typeof stats.bytes_allocated === "number") values.allocated = stats.bytes_allocated;
  if (typeof stats.bytes_reserved === "number") values.reserved = stats.bytes_reserved;
  return { process: HOST, name: `memory of ${stats.allocator_name ?? "TensorFlow"}`, time: start, values };
}

/** Without ids for TensorFlow's own use. */
function readableArgs(stats: Stats): Record<string, string | number> {
  const hidden = [
    "id",
    "iter_num",
    "hlo_op",
    "hlo_module",
    "program_id",
    "run_id",
    "device_ordinal",
    "is_func",
  ];
  const shown = Object.entries(stats).filter(
    ([name, value]) => !name.startsWith("_") && !hidden.includes(name) && typeof value !== "object",
  );
  return Object.fromEntries(shown) as Record<string, string | number>;
}

/** Threads of a pool are numbered, instead of TensorFlow's long ids. */
function laneName(name: string, before: Lane[]): string {
  if (name === "node") return "main thread";
  if (!name.includes("/")) return name;
  const [pool] = name.split("/");
  return `${pool} ${1 + before.filter((lane) => lane.name.startsWith(`${pool} `)).length}`;
}

/** XLA numbers what has the same name: fusion.12. */
function withoutNumber(name: string): string {
  return name.replace(/(\.\d+)+$/, "");
}

/** In the order of their starts; of those that start together, the longest first. */
export function outerFirst(a: { start: number; duration: number }, b: typeof a): number {
  return a.start - b.start || b.duration - a.duration;
}
