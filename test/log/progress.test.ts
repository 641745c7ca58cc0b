/** Progress and summary lines, with a clock that the test moves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Formatter } from "../../src/log/formatter.ts";
import { LiveLine } from "../../src/log/live_line.ts";
import type { Logger } from "../../src/log/logger.ts";
import {
  logSummary,
  type ProgressOptions,
  StageProgress,
  speedText,
  summaryLine,
} from "../../src/log/progress.ts";

const formatter = new Formatter({
  formats: { lr: ".2E", ce: ".3f", ppl: ".3f", grad_norm: ".3E" },
  excludeKeys: ["ce_q*", "ppl_q*"],
});

/** Runs a stage whose iterations take `milliseconds` each; what went to the log, and to a terminal. */
async function run(total: number, milliseconds: number, options: Partial<ProgressOptions> = {}) {
  const logged: string[] = [];
  const live: string[] = [];
  const announced: number[] = [];
  let now = 5000;
  const progress = new StageProgress({ info: (line: string) => logged.push(line) } as unknown as Logger, {
    stage: "train",
    epoch: 3,
    total,
    formatter,
    clock: () => now,
    memory: () => 3.14e9,
    liveLine: new LiveLine({ isTTY: true, columns: 200, write: (text) => live.push(text) }, {}),
    ...options,
  });
  for await (const i of progress.over(Array.from({ length: total }, (_, i) => i))) {
    now += milliseconds;
    const willLog = progress.update({ lr: 1, grad_norm: 0.2345, ce: 5 + i / 1000, ce_q1: 7, ppl: 167.8 });
    if (willLog) announced.push(i);
  }
  return { logged, live, announced };
}

test("a line has AudioCraft's form: stage, epoch, position, speed, formatted metrics", async () => {
  const { logged } = await run(11, 500, { updates: 2 });
  assert.deepEqual(logged, [
    "Train | Epoch 3 | 5/11 | 2.00 it/sec | lr 1.00E+00 | grad_norm 2.345E-01 | ce 5.005 | ppl 167.800",
    "Train | Epoch 3 | 10/11 | 2.00 it/sec | lr 1.00E+00 | grad_norm 2.345E-01 | ce 5.010 | ppl 167.800",
  ]);
});

test("lines come each total / updates iterations, never for the first, and update announces them", async () => {
  const positions = (logged: string[]) => logged.map((line) => Number(/\| (\d+)\/\d+ \|/.exec(line)?.[1]));
  const ten = await run(100, 10, { updates: 10 });
  assert.deepEqual(positions(ten.logged), [10, 20, 30, 40, 50, 60, 70, 80, 90]);
  assert.deepEqual(ten.announced, [10, 20, 30, 40, 50, 60, 70, 80, 90]);
  assert.deepEqual(positions((await run(4, 10, { updates: 10 })).logged), [1, 2, 3]);
  assert.deepEqual((await run(4, 10, { updates: 0 })).logged, []);
});

test("a stage that is left early logs no further line, and takes its live line away", async () => {
  const logged: string[] = [];
  const live: string[] = [];
  const progress = new StageProgress({ info: (line: string) => logged.push(line) } as unknown as Logger, {
    stage: "valid",
    epoch: 1,
    total: 10,
    updates: 10,
    liveLine: new LiveLine({ isTTY: true, write: (text) => live.push(text) }, {}),
  });
  for await (const i of progress.over([0, 1, 2])) {
    progress.update({ ce: 1 });
    if (i === 1) break;
  }
  assert.deepEqual(logged, []);
  assert.equal(live.at(-1), "\r\x1b[2K");
});

test("asynchronous batches are handed on in order", async () => {
  async function* batches() {
    yield "a";
    yield "b";
  }
  const progress = new StageProgress({ info: () => {} } as unknown as Logger, {
    stage: "train",
    epoch: 1,
    total: 2,
    liveLine: new LiveLine({ write: () => {} }, {}),
  });
  const seen: string[] = [];
  for await (const batch of progress.over(batches())) seen.push(batch);
  assert.deepEqual(seen, ["a", "b"]);
});

test("the live line shows bar, loss, speed, remaining time, audio per second and memory", async () => {
  const { live } = await run(100, 500, { audioSecondsPerIteration: 30 });
  assert.equal(
    live[50].replace("\r\x1b[2K", ""),
    "Train | Epoch 3 ━━━━━━━━━━────────── 51/100 | ce 5.050 | 2.00 it/sec | ETA 0:25 | 60.0 s audio/s | 3.1 GB",
  );
});

test("the live line is refreshed ten times a second at most", async () => {
  const { live } = await run(1000, 1);
  assert.equal(live.length, 10 + 1, "one second of iterations, and the line's removal");
});

test("the remaining time leaves out a slow first iteration", async () => {
  const live: string[] = [];
  let now = 0;
  const progress = new StageProgress({ info: () => {} } as unknown as Logger, {
    stage: "train",
    epoch: 1,
    total: 20,
    clock: () => now,
    liveLine: new LiveLine({ isTTY: true, columns: 200, write: (text) => live.push(text) }, {}),
  });
  for await (const i of progress.over(Array.from({ length: 4 }, (_, i) => i))) {
    now += i === 0 ? 60_000 : 1000;
    progress.update({ ce: 1 });
  }
  assert.match(live[2], /3\/20 .* ETA 0:17 /);
});

test("speeds are written as AudioCraft does", () => {
  assert.deepEqual([123.456, 1.234, 0.1, 0.05, 0.00005].map(speedText), [
    "123.46 it/sec",
    "1.23 it/sec",
    "0.10 it/sec",
    "20.0 sec/it",
    "oo sec/it",
  ]);
});

test("a summary names stage, epoch and the shown metrics, and is bold in the log", () => {
  const metrics = { lr: 1e-4, ce: 5.1234, ce_q1: 1, ppl: 167.8 };
  const line = "Train Summary | Epoch 3 | lr=1.00E-04 | ce=5.123 | ppl=167.800";
  assert.equal(summaryLine("train", 3, metrics, formatter), line);
  const logged: string[] = [];
  logSummary(
    { info: (text: string) => logged.push(text) } as unknown as Logger,
    "train",
    3,
    metrics,
    formatter,
  );
  assert.deepEqual(logged, [`\x1b[1m${line}\x1b[0m`]);
});
