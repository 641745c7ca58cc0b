/** The log tells how metrics went within epochs, and what was wrong. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSolverLog } from "../../src/report/solver_log.ts";

const line = (message: string, level = "INFO") => `[11-24 08:41:41][train][${level}] - ${message}`;
const progress = (epoch: number, index: number, ce: string) =>
  line(`Train | Epoch ${epoch} | ${index}/10 | 4.00 it/sec | lr 1.00E-03 | ce ${ce}`);

test("a progress line is a point within its epoch, with every metric of it", () => {
  const log = parseSolverLog(progress(3, 4, "5.125"));
  assert.deepEqual(log.progress, [{ stage: "train", epochs: 2.5, metrics: { lr: 1e-3, ce: 5.125 } }]);
});

test("where a run that was stopped went on, its new points replace those after its checkpoint", () => {
  const lines = [progress(1, 1, "5"), progress(1, 3, "4"), progress(1, 5, "3"), progress(1, 3, "4.5")];
  const { progress: points } = parseSolverLog(lines.join("\n"));
  assert.deepEqual(
    points.map(({ epochs, metrics }) => [epochs, metrics.ce]),
    [
      [0.2, 5],
      [0.4, 4.5],
    ],
  );
});

test("a metric that is not a number is left out, and summaries are no points", () => {
  const log = parseSolverLog(`${progress(1, 1, "nan")}\n${line("Train Summary | Epoch 1 | ce=4.000")}`);
  assert.deepEqual(log.progress[0].metrics, { lr: 1e-3 });
  assert.equal(log.progress.length, 1);
});

test("warnings and errors have the lines that follow them; equal ones are counted, the latest is last", () => {
  const lines = [
    line("slow disk", "WARNING"),
    line("it broke", "ERROR"),
    "Error: it broke",
    "    at step (solver.ts:1)",
    line("all is well"),
    line("slow disk", "WARNING"),
  ];
  const { issues } = parseSolverLog(lines.join("\n"));
  assert.deepEqual(
    issues.map(({ level, count, message }) => [level, count, message]),
    [
      ["ERROR", 1, "it broke\nError: it broke\n    at step (solver.ts:1)"],
      ["WARNING", 2, "slow disk"],
    ],
  );
});
