/** Checkpoints of a run: what is in them, and what is left when the disk refuses or the process is killed in between. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Logger } from "../../src/log/logger.ts";
import { Checkpoint, type CheckpointConfig } from "../../src/solvers/checkpoint.ts";
import type { Run } from "../../src/solvers/run.ts";
import { MeanMetrics } from "../../src/solvers/stage_metrics.ts";

const root = mkdtempSync(join(tmpdir(), "musicgen-checkpoint-"));
test.after(() => rmSync(root, { recursive: true, force: true }));

const everyEpoch: CheckpointConfig = {
  save_last: true,
  save_every: 1,
  keep_last: null,
  keep_every_states: ["model"],
};

function open(name: string, config = everyEpoch) {
  const folder = join(root, name);
  mkdirSync(folder, { recursive: true });
  const warnings: string[] = [];
  const log = { info() {}, warn: (message: string) => warnings.push(message) } as unknown as Logger;
  const run = { folder, log, configYaml: "", signature: "", argv: [], gitCommit: null } as unknown as Run;
  return { folder, warnings, checkpoint: new Checkpoint(run, config) };
}

/** A state of one weight, and how many of its values are still held. */
function state(updates: number) {
  const host = { optimizer: { updates } };
  const held = { count: 0 };
  const content = () => {
    held.count++;
    const free = () => void held.count--;
    const data = () => {
      free();
      return Float32Array.of(updates);
    };
    return { tensors: [{ name: "model.w", dtype: "F32" as const, shape: [1], data, release: free }], host };
  };
  return { host, held, content };
}

test("a file that waits for its turn holds the host's state of when it was begun", async () => {
  const { checkpoint } = open("waits");
  const { host, content } = state(3);
  await checkpoint.beginEpoch(content, 1); // a numbered file, and after it the last one
  host.optimizer.updates = 4;
  await checkpoint.finish();
  const read = checkpoint.read()!;
  assert.deepEqual(read.host, { optimizer: { updates: 3 } });
  read.close();
  await checkpoint.close();
});

test("killed after a numbered checkpoint of some states only, a run goes on from the last whole one", async () => {
  const { checkpoint, folder } = open("killed");
  await checkpoint.beginEpoch(state(1).content, 1);
  await checkpoint.finish();
  const earlier = new Date(Date.now() - 60_000);
  utimesSync(join(folder, "checkpoint.safetensors"), earlier, earlier);
  const read = checkpoint.read()!;
  assert.deepEqual(read.host, { optimizer: { updates: 1 } });
  read.close();
  await checkpoint.close();
});

test("a refused checkpoint is reported and does not keep the next one from being written; no tensor stays held", async () => {
  const { checkpoint, folder, warnings } = open("refused", { ...everyEpoch, save_every: null });
  const obstacle = join(folder, "checkpoint.safetensors.tmp");
  mkdirSync(obstacle);
  const [first, second] = [state(1), state(2)];
  await checkpoint.begin(first.content);
  await assert.rejects(checkpoint.finish(), /checkpoint\.safetensors: cannot write/);
  await checkpoint.begin(first.content);
  rmSync(obstacle, { recursive: true });
  await checkpoint.write(second.content);
  assert.match(warnings[0], /cannot write/);
  assert.deepEqual([first.held.count, second.held.count], [0, 0]);
  const read = checkpoint.read()!;
  assert.deepEqual(read.host, { optimizer: { updates: 2 } });
  read.close();
  await checkpoint.close();
});

test("what has been begun is on the disk after close, as when a run fails", async () => {
  const { checkpoint } = open("closed");
  await checkpoint.beginEpoch(state(5).content, 1);
  await checkpoint.close();
  const read = checkpoint.read()!;
  assert.deepEqual(read.host, { optimizer: { updates: 5 } });
  read.close();
});

test("of a stage, updates that were left out are counted, and other metrics averaged over the steps that have them", () => {
  const mean = new MeanMetrics();
  mean.add({ ce: 2, grad_norm: 1 });
  mean.add({ skipped: 1 });
  mean.add({ ce: 4, skipped: 1 });
  assert.deepEqual(mean.mean(), { ce: 3, grad_norm: 1, skipped: 2 });
});
