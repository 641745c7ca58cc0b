// What is stored about a run, comparing runs, deleting them, and `-f` on the command line.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { configDifferences, metricDifferences } from "../../src/xp/compare.ts";
import { type EpochMetrics, openExperiment } from "../../src/xp/folder.ts";
import { PATCH_FILE, readRuns, recordRun, writeOutcome } from "../../src/xp/provenance.ts";
import { cancelExperiment, clearExperiment, removeExperiment } from "../../src/xp/remove.ts";
import { trainSignature } from "../../src/xp/signature.ts";
import { ageText, experimentState, metricColumn } from "../../src/xp/status.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "record-test-"));
after(() => fs.rmSync(root, { recursive: true, force: true }));
process.env.AUDIOCRAFT_DORA_DIR = path.join(root, "dora");

let made = 0;
function experiment(...overrides: string[]) {
  const opened = openExperiment(path.join(root, `dora${made++}`), trainSignature(overrides));
  opened.close();
  return opened;
}

function repository(): string {
  const dir = fs.mkdtempSync(path.join(root, "clone-"));
  const git = (...args: string[]) =>
    execFileSync("git", ["-c", "user.name=a", "-c", "user.email=a@b", ...args], { cwd: dir });
  git("init", "-q");
  fs.writeFileSync(path.join(dir, "file.txt"), "one\n");
  git("add", ".");
  git("commit", "-qm", "first");
  return dir;
}

test("a start is recorded with command line, commit and the changes that were not committed", () => {
  const clone = repository();
  const { dir } = experiment("seed=1");
  const clean = recordRun(dir, ["npm", "run", "train", "--", "seed=1"], clone);
  assert.match(clean!, /^[0-9a-f]{40}$/);
  assert.equal(fs.existsSync(path.join(dir, PATCH_FILE)), false);
  fs.writeFileSync(path.join(clone, "file.txt"), "two\n");
  assert.equal(recordRun(dir, ["again"], clone), `${clean}-dirty`);
  assert.match(fs.readFileSync(path.join(dir, PATCH_FILE), "utf8"), /\n-one\n\+two\n$/);
  const runs = readRuns(dir);
  assert.deepEqual(
    runs.map(({ command, dirty }) => [command.at(-1), dirty]),
    [
      ["seed=1", false],
      ["again", true],
    ],
  );
});

test("the patch of a dirty start can be applied to its commit", () => {
  const clone = repository();
  const { dir } = experiment("seed=2");
  fs.writeFileSync(path.join(clone, "file.txt"), "changed\n");
  recordRun(dir, [], clone);
  execFileSync("git", ["checkout", "-q", "file.txt"], { cwd: clone });
  execFileSync("git", ["apply", path.join(dir, PATCH_FILE)], { cwd: clone });
  assert.equal(fs.readFileSync(path.join(clone, "file.txt"), "utf8"), "changed\n");
});

test("outside a git clone the commit is null, and the run is recorded all the same", () => {
  const { dir } = experiment("seed=3");
  assert.equal(recordRun(dir, ["x"], os.tmpdir()), null);
  assert.equal(readRuns(dir).length, 1);
});

test("comparing shows the settings that differ, derived ones included, and the metrics of the last epochs", () => {
  const a = experiment("solver=musicgen/debug");
  const b = experiment("solver=musicgen/debug", "optim.updates_per_epoch=5", "+extra=1");
  assert.deepEqual(configDifferences([a, b]), [
    { key: "extra", values: [undefined, "1"] },
    { key: "optim.ema.updates", values: ["10", "5"] },
    { key: "optim.updates_per_epoch", values: ["10", "5"] },
  ]);
  a.writeHistory([{ train: { ce: 3 } }, { train: { ce: 2.5, same: 1 } }]);
  b.writeHistory([{ train: { ce: 2.25, same: 1 } }]);
  assert.deepEqual(metricDifferences([a, b]), [
    { key: "epochs", values: ["2", "1"] },
    { key: "train.ce", values: ["2.5", "2.25"] },
  ]);
});

test("deleting asks; only yes deletes", async () => {
  const one = experiment("seed=4");
  one.writeHistory([{ train: { ce: 1 } }]);
  const questions: string[] = [];
  const answer = (text: string) => ({
    ask: async (question: string) => {
      questions.push(question);
      return text;
    },
  });
  assert.equal(await removeExperiment(one, answer("")), false);
  assert.ok(fs.existsSync(one.dir));
  assert.match(questions[0]!, /\(1 epochs\)/);
  assert.equal(await removeExperiment(one, answer("y")), true);
  assert.equal(fs.existsSync(one.dir), false);
});

test("without a terminal to answer nothing is deleted, and the error says how", {
  skip: process.stdin.isTTY,
}, async () => {
  await assert.rejects(removeExperiment(experiment("seed=5")), { name: "UserError", message: /add --yes/ });
});

test("an experiment that a process trains is not deleted", async () => {
  const one = openExperiment(path.join(root, "dora"), trainSignature(["seed=6"]));
  await assert.rejects(removeExperiment(one, { yes: true }), {
    name: "UserError",
    message: /is in use by process/,
  });
  assert.ok(fs.existsSync(one.path(".argv.json")));
  one.close();
  assert.equal(await clearExperiment(["seed=6"], {}, { yes: true }), true);
  assert.equal(fs.existsSync(one.dir), false);
  assert.equal(await clearExperiment(["seed=6"], {}, {}), true, "nothing to delete is no question");
});

test("cancelling tells the process that trains to stop, and says when there is none", async () => {
  const one = experiment("seed=7");
  assert.equal(cancelExperiment(one), "not running");
  // A process that holds the lock: it writes the file as FolderLock does.
  const holder = spawn(process.execPath, ["-e", "setTimeout(() => {}, 20000)"]);
  const content = { pid: holder.pid, host: os.hostname(), start: "" };
  fs.writeFileSync(one.path(".lock"), JSON.stringify(content));
  const ended = new Promise((done) => holder.once("exit", (_, signal) => done(signal)));
  assert.equal(cancelExperiment(one), `stopping process ${holder.pid}`);
  assert.equal(await ended, "SIGTERM");
});

test("states: new, running, stopped on the way, done, failed, damaged", () => {
  const one = experiment("optim.epochs=2");
  const state = () => experimentState(one);
  assert.equal(state(), "NEW");
  one.writeHistory([{ train: { ce: 1 } }]);
  assert.equal(state(), "PAU");
  writeOutcome(one.dir, 1);
  assert.equal(state(), "FAI");
  recordRun(one.dir, ["started", "again"]);
  assert.equal(state(), "PAU");
  one.writeHistory([{ train: { ce: 1 } }, { train: { ce: 1 } }]);
  assert.equal(state(), "DON");
  fs.writeFileSync(one.path("history.json"), "[");
  assert.equal(state(), "ERR");
  const running = openExperiment(path.dirname(path.dirname(one.dir)), { sig: one.sig, argv: one.argv });
  assert.equal(state(), "RUN");
  running.close();
});

test("columns show the last or the best value, or nothing yet", () => {
  const history: EpochMetrics[] = [
    { valid: { ppl: 2 } },
    { valid: { ppl: 1.5 } },
    { valid: { ppl: 3 } },
    { train: { ppl: 9 } },
  ];
  assert.equal(metricColumn("valid", "ppl").text(history, ""), "3.000");
  assert.equal(metricColumn("valid", "ppl", { best: true }).text(history, ""), "1.500");
  assert.equal(metricColumn("valid", "ce").text(history, ""), "");
  assert.deepEqual(
    [5, 90, 7200, 200_000].map((s) => ageText(0, s * 1000)),
    ["5s", "1m", "2h", "2d"],
  );
});
