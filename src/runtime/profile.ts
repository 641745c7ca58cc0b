/**
 * Times of what TensorFlow runs, op by op, next to what the main thread does meanwhile.
 *
 *   const trace = profile((phase) => { phase("step"); step(x).dataSync(); });
 *   writeFileSync("step.trace.json", chromeTrace(trace)); // opens in ui.perfetto.dev
 *   console.log(opTable(trace));
 *
 * TensorFlow's profiler does the recording, so that ops inside jitted functions are seen, fusions of XLA, and kernels on a
 * GPU. While nothing is recorded, nothing is added to any op.
 */
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { addon } from "./tensorflow.ts";
import { type Counter, HOST, type Lane, outerFirst, readPlanes, type Span } from "./timeline.ts";
import { decodeXSpace, type XPlane } from "./xspace.ts";

export interface Trace {
  lanes: Lane[];
  counters: Counter[];
  /** What the profiler could not do, in TensorFlow's words. */
  notices: string[];
  /** TensorFlow's own record, a serialized XSpace, which TensorBoard's profile plugin reads. */
  xspace: Uint8Array;
}

/** Records while `f` runs, which names its phases as it comes to them, and should read its results (`dataSync`). */
export function profile(f: (phase: (name: string) => void) => void): Trace {
  const profiler = new Profiler();
  try {
    f((name) => profiler.phase(name));
  } catch (error) {
    profiler.stop();
    throw error;
  }
  return profiler.stop();
}

/** A recording, from its construction to `stop`. There can be one at a time. */
export class Profiler {
  /** Milliseconds of the system's clock at 0 of performance.now(). */
  private readonly origin = clockOrigin();
  private readonly began = performance.now();
  private readonly phases: Span[] = [];
  private readonly rounds: Span[] = [];
  private readonly memory: Counter[] = [];

  constructor() {
    addon.startProfiler(profileOptions());
    this.sampleMemory(this.now());
  }

  /** The main thread begins with something; what it was at before is over. */
  phase(name: string): void {
    const time = this.now();
    close(this.phases, time);
    this.phases.push(phase(name, time));
    this.sampleMemory(time);
  }

  /** A round of phases, such as an update, begins; the one before is over. */
  round(name: string): void {
    const time = this.now();
    close(this.phases, time);
    close(this.rounds, time);
    this.rounds.push(phase(name, time));
  }

  stop(): Trace {
    const time = this.now();
    const xspace = addon.stopProfiler();
    close(this.phases, time);
    close(this.rounds, time);
    this.sampleMemory(time);
    const { planes, notices } = decodeXSpace(xspace);
    const offset = this.offset(planes);
    const own = [...this.rounds, ...this.phases].sort(outerFirst);
    for (const item of own) item.start += offset;
    for (const item of this.memory) item.time += offset;
    const { lanes, counters } = readPlanes(planes);
    const main: Lane = { process: HOST, name: "phases of the main thread", spans: own };
    return {
      lanes: own.length > 0 ? [main, ...lanes] : lanes,
      counters: [...this.memory, ...counters],
      notices,
      xspace,
    };
  }

  /** Microseconds since construction. */
  private now(): number {
    return (performance.now() - this.began) * 1e3;
  }

  /** What to add to our times to get TensorFlow's, which begin when its profiler says that it did. */
  private offset(planes: XPlane[]): number {
    const start = planes.find(({ name }) => name === "Task Environment")?.stats.profile_start_time; // nanoseconds
    return typeof start === "number" ? (this.origin + this.began) * 1e3 - start / 1e3 : 0;
  }

  private sampleMemory(time: number): void {
    const values = { resident: process.memoryUsage.rss() };
    this.memory.push({ process: HOST, name: "memory of the process", time, values });
  }
}

function phase(name: string, start: number): Span {
  return { name, kind: "phase", start, duration: -1, args: {} };
}

/** Ends the last span if it is still open. */
function close(spans: Span[], time: number): void {
  const last = spans.at(-1);
  if (last && last.duration < 0) last.duration = time - last.start;
}

/** tensorflow.ProfileOptions: all ops on the host, kernels on devices, XLA's programs (for the names of its fusions). */
function profileOptions(): Uint8Array {
  const options = new BinaryWriter();
  options.tag(5, 0).uint32(1); // version
  options.tag(2, 0).uint32(2).tag(3, 0).uint32(1); // host_tracer_level, device_tracer_level
  options.tag(7, 0).bool(true); // enable_hlo_proto
  return options.finish();
}

/**
 * performance.timeOrigin does not follow corrections of the system's clock: looks at both clocks when a millisecond of that
 * one begins. Being interrupted between the two makes the result too small, so the largest of a few is right.
 */
function clockOrigin(): number {
  let origin = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < 8; i++) {
    const before = Date.now();
    let after = before;
    while (after === before) after = Date.now();
    origin = Math.max(origin, after - performance.now());
  }
  return origin;
}
