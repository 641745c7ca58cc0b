// Experiment folders: where they are, that history survives, that two processes cannot train the same experiment.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { composeTrainConfig, PROJECT_ROOT } from "../../src/config/index.ts";
import {
  type EpochMetrics,
  findExperiment,
  listExperiments,
  newestCheckpoint,
  newestExperiment,
  openExperiment,
  readHistory,
  resolveDoraDir,
} from "../../src/xp/folder.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "xp-test-"));
after(() => fs.rmSync(root, { recursive: true, force: true }));
let made = 0;
const fresh = () => path.join(root, String(made++));
const signed = (sig: string) => ({ sig, argv: [`label=${sig}`] });

test("AudioCraft's cluster path becomes outputs/ in the project; a changed dora.dir or the variable wins", () => {
  assert.equal(resolveDoraDir(composeTrainConfig([]), {}), path.join(PROJECT_ROOT, "outputs"));
  assert.equal(resolveDoraDir(composeTrainConfig(["dora.dir=/data/x"]), {}), "/data/x");
  assert.equal(resolveDoraDir(composeTrainConfig(["dora.dir=runs"]), {}), path.join(PROJECT_ROOT, "runs"));
  assert.equal(resolveDoraDir(composeTrainConfig([]), { AUDIOCRAFT_DORA_DIR: "/env/dir" }), "/env/dir");
});

test("an experiment's folder holds its command line; history comes back as written", () => {
  const dir = fresh();
  const experiment = openExperiment(dir, signed("aaaa1111"));
  assert.equal(experiment.dir, path.join(dir, "xps", "aaaa1111"));
  assert.deepEqual(JSON.parse(fs.readFileSync(experiment.path(".argv.json"), "utf8")), ["label=aaaa1111"]);
  assert.deepEqual(experiment.history, []);
  const history: EpochMetrics[] = [
    { train: { ce: 5.5, duration: 1 } },
    { train: { ce: 5 }, valid: { ce: 5.1 } },
  ];
  experiment.writeHistory(history);
  assert.deepEqual(readHistory(experiment.dir), history);
  assert.deepEqual(
    fs.readdirSync(experiment.dir).filter((name) => name.endsWith(".tmp")),
    [],
  );
  experiment.close();
});

test("a damaged history is reported, not taken for an empty one", () => {
  const experiment = openExperiment(fresh(), signed("bbbb1111"));
  fs.writeFileSync(experiment.path("history.json"), "[{");
  assert.throws(() => experiment.history, { name: "UserError", message: /history\.json is damaged/ });
  experiment.close();
});

test("a second holder is refused while the first lives, and let in after it closes", () => {
  const dir = fresh();
  const first = openExperiment(dir, signed("cccc1111"));
  assert.throws(() => openExperiment(dir, signed("cccc1111")), {
    name: "UserError",
    message: /in use by process/,
  });
  openExperiment(dir, signed("cccc1111"), { lock: false }).close();
  openExperiment(dir, signed("dddd1111")).close();
  first.close();
  openExperiment(dir, signed("cccc1111")).close();
});

test("the lock of a process that has ended is taken over", async () => {
  const dir = fresh();
  const folder = path.join(dir, "xps", "eeee1111");
  fs.mkdirSync(folder, { recursive: true });
  const child = spawn(process.execPath, ["-e", ""]);
  const pid = child.pid!;
  await new Promise((resolve) => child.once("close", resolve));
  fs.writeFileSync(path.join(folder, ".lock"), JSON.stringify({ pid, host: os.hostname(), start: "1" }));
  openExperiment(dir, signed("eeee1111")).close();
});

test("a process number that is in use again by another process does not keep the lock", () => {
  const dir = fresh();
  const folder = path.join(dir, "xps", "ffff1111");
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(
    path.join(folder, ".lock"),
    JSON.stringify({ pid: process.ppid, host: os.hostname(), start: "0" }),
  );
  openExperiment(dir, signed("ffff1111")).close();
});

test("a lock of another machine is respected", () => {
  const dir = fresh();
  const folder = path.join(dir, "xps", "abab1111");
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, ".lock"), JSON.stringify({ pid: 1, host: "elsewhere", start: "0" }));
  assert.throws(() => openExperiment(dir, signed("abab1111")), { message: /on elsewhere/ });
});

test("a lock of another machine is taken over when it has had no sign of life for ten minutes", () => {
  const dir = fresh();
  const folder = path.join(dir, "xps", "abab2222");
  fs.mkdirSync(folder, { recursive: true });
  const lock = path.join(folder, ".lock");
  fs.writeFileSync(lock, JSON.stringify({ pid: 1, host: "elsewhere", start: "0" }));
  const past = new Date(Date.now() - 11 * 60_000);
  fs.utimesSync(lock, past, past);
  openExperiment(dir, signed("abab2222")).close();
});

test("experiments are listed and found by the beginning of their signature", () => {
  const dir = fresh();
  for (const sig of ["12340000", "12350000"]) openExperiment(dir, signed(sig)).close();
  assert.deepEqual(
    listExperiments(dir)
      .map(({ sig }) => sig)
      .sort(),
    ["12340000", "12350000"],
  );
  assert.equal(findExperiment(dir, "1234").sig, "12340000");
  assert.throws(() => findExperiment(dir, "123"), { message: /could be any of/ });
  assert.throws(() => findExperiment(dir, "9"), { message: /no experiment '9'.*12340000/ });
});

test("the newest checkpoint: the last one, else the highest epoch; the newest experiment by its time", () => {
  const dir = fresh();
  const [a, b] = ["aaaa0000", "bbbb0000"].map((sig) => openExperiment(dir, signed(sig))) as [
    ReturnType<typeof openExperiment>,
    ReturnType<typeof openExperiment>,
  ];
  assert.equal(a.checkpoint, undefined);
  assert.equal(newestExperiment(dir), undefined);
  for (const epoch of [2, 10]) fs.writeFileSync(a.path(`checkpoint_${epoch}.safetensors`), "");
  assert.equal(newestCheckpoint(a.dir), a.path("checkpoint_10.safetensors"));
  fs.writeFileSync(a.path("checkpoint.safetensors"), "");
  assert.equal(a.checkpoint, a.path("checkpoint.safetensors"));
  fs.writeFileSync(b.path("checkpoint.safetensors"), "");
  fs.utimesSync(a.path("checkpoint.safetensors"), 1000, 1000);
  assert.equal(newestExperiment(dir)?.sig, "bbbb0000");
  a.close();
  b.close();
});
