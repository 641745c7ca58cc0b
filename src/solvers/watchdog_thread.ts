/** The thread of the hang detector. */
import { appendFileSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { type Debugger, Session } from "node:inspector";
import { setTimeout as sleep } from "node:timers/promises";
import { workerData } from "node:worker_threads";
import type { WorkerStart } from "../worker_thread.ts";
import type { WatchdogOrder } from "./watchdog.ts";

const { shared, names, seconds, file } = (workerData as WorkerStart<WatchdogOrder>).data;
const state = new Int32Array(shared);

// Looks are counted, not time: a process that was stopped as a whole (SIGSTOP) and goes on has not hung.
const interval = Math.min(1000, seconds * 100);
let count = Atomics.load(state, 0);
for (let waited = 0; waited < seconds * 1000; waited += interval) {
  await sleep(interval);
  const now = Atomics.load(state, 0);
  if (now !== count) waited = 0;
  count = now;
}
const report = [
  `no progress for ${seconds} s (deadlock.timeout) since: ${names[Atomics.load(state, 1)]}. The process is killed; started again, it goes on from its checkpoint.`,
  "JavaScript stack of the main thread:",
  ...(await mainStack()),
  "Threads, and how busy each was in the last half second:",
  ...(await threads()),
  "",
].join("\n");
for (const write of [() => writeSync(2, report), () => appendFileSync(file, report)]) {
  try {
    write();
  } catch {
    // a closed terminal or a full disk must not keep the process alive
  }
}
process.kill(process.pid, "SIGKILL");

/** Call frames of the main thread, if it runs JavaScript; else what it waits for. */
async function mainStack(): Promise<string[]> {
  const session = new Session();
  if (!("connectToMainThread" in session)) return ["  (needs Node 20.11)"];
  (session as Session & { connectToMainThread(): void }).connectToMainThread();
  const paused = new Promise<string[]>((resolve) => {
    session.on("Debugger.paused", ({ params }) => resolve(params.callFrames.map(frameText)));
  });
  session.post("Debugger.enable");
  session.post("Debugger.pause");
  const frames = await Promise.race([paused, sleep(700)]);
  if (frames) return frames;
  session.post("Debugger.disable"); // takes the request to pause back
  const active = new Promise<string[]>((resolve) => {
    const expression = "process.getActiveResourcesInfo().join(', ')";
    session.post("Runtime.evaluate", { expression }, (error, reply) => {
      const value = error ? "unknown" : String(reply.result.value);
      resolve([`  none: it waits for events (active: ${value})`]);
    });
  });
  const native = sleep(2000).then(() => ["  unknown: it is inside native code, such as a TensorFlow op"]);
  return await Promise.race([active, native]);
}

function frameText({ functionName, url, location }: Debugger.CallFrame): string {
  return `  at ${functionName || "(anonymous)"} (${url}:${location.lineNumber + 1})`;
}

/** Name, state and load of every thread, from /proc. */
async function threads(): Promise<string[]> {
  const first = cpuTimes();
  await sleep(500);
  const second = cpuTimes();
  return [...second].map(([id, { name, state: letter, ticks }]) => {
    const busy = (ticks - (first.get(id)?.ticks ?? ticks)) / 50; // 100 ticks a second
    return `  ${id} ${name} ${letter} ${(100 * busy).toFixed(0)} %`;
  });
}

function cpuTimes(): Map<string, { name: string; state: string; ticks: number }> {
  const entries = readdirSync("/proc/self/task").map((id): [string, ReturnType<typeof parse>] => {
    return [id, parse(readFileSync(`/proc/self/task/${id}/stat`, "latin1"))];
  });
  return new Map(entries);
}

/** A line of /proc/…/stat: `id (name) state …`, user and system time as fields 14 and 15. */
function parse(line: string): { name: string; state: string; ticks: number } {
  const end = line.lastIndexOf(")");
  const fields = line.slice(end + 2).split(" ");
  return {
    name: line.slice(line.indexOf("(") + 1, end),
    state: fields[0],
    ticks: Number(fields[11]) + Number(fields[12]),
  };
}
