// --multirun: each combination in a process of its own; what fails, what goes on, and what the table says.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseCommandLine, TRAINING_FLAGS } from "../../src/config/command-line.ts";
import { runMultirun, varyingArguments } from "../../src/xp/multirun.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "multirun-test-"));
after(() => fs.rmSync(root, { recursive: true, force: true }));
const fake = path.join(path.dirname(fileURLToPath(import.meta.url)), "fake-train.mjs");

beforeEach(() => {
  fs.rmSync(root, { recursive: true, force: true });
  fs.mkdirSync(root);
  process.env.AUDIOCRAFT_DORA_DIR = root;
});

/** Runs the command line with the stand-in; gives the exit code, what is printed, and the calls that were made. */
async function run(...argv: string[]): Promise<{ code: number; table: string; calls: string[][] }> {
  let table = "";
  const code = await runMultirun(parseCommandLine(["-m", ...argv], TRAINING_FLAGS), {
    command: [process.execPath, fake, root],
    logFile: path.join(root, "log"),
    print: async (text) => {
      table += text;
    },
  });
  const calls = fs.readFileSync(path.join(root, "calls.jsonl"), "utf8").trimEnd().split("\n");
  return { code, table, calls: calls.map((text) => JSON.parse(text)) };
}

test("every combination is trained, in the order of the sweeps, and the table has a row for each", async () => {
  const { code, table, calls } = await run("optim.lr=1e-3,1e-4", "seed=1,2", "label=ok");
  assert.equal(code, 0);
  assert.deepEqual(calls, [
    ["optim.lr=0.001", "seed=1", "label=ok"],
    ["optim.lr=0.001", "seed=2", "label=ok"],
    ["optim.lr=0.0001", "seed=1", "label=ok"],
    ["optim.lr=0.0001", "seed=2", "label=ok"],
  ]);
  assert.equal(table.match(/\| done /g)?.length, 4);
  assert.match(table, /\| 3 \| optim\.lr=0\.0001 seed=2 +\| [0-9a-f]{8} \| done/);
});

test("a failure does not stop the others, and makes the exit code 1", async () => {
  const { code, table, calls } = await run("label=fail,ok");
  assert.equal(code, 1);
  assert.equal(calls.length, 2);
  assert.match(table, /label=fail +\| [0-9a-f]{8} \| failed \(exit code 3\)/);
  assert.match(table, /label=ok +\| [0-9a-f]{8} \| done/);
});

test("an interruption is handed on to the run, stops those after it, and gives its exit code", async () => {
  const poll = setInterval(() => {
    if (fs.existsSync(path.join(root, "waiting"))) {
      clearInterval(poll);
      process.emit("SIGUSR1", "SIGUSR1"); // the test runner listens to the others
    }
  }, 20);
  const { code, table, calls } = await run("label=wait,ok");
  assert.equal(code, 138);
  assert.equal(calls.length, 1);
  assert.match(table, /\| interrupted /);
  assert.match(table, /\| not run /);
});

test("a combination that cannot be composed stops everything before the first run", async () => {
  await assert.rejects(run("optim.lr=1", "transformer_lm.nope=1,2"), {
    name: "UserError",
    message: /transformer_lm\.nope/,
  });
  assert.equal(fs.existsSync(path.join(root, "calls.jsonl")), false);
});

test("--clear and the place of the config tree are handed on", async () => {
  const { calls } = await run("--clear", "--config-dir", root, "label=ok");
  assert.deepEqual(calls, [["--config-dir", root, "--clear", "--yes", "label=ok"]]);
});

test("names are made of the arguments that not all have", () => {
  assert.deepEqual(
    varyingArguments([
      ["a=1", "b=1"],
      ["a=1", "b=2"],
    ]),
    [["b=1"], ["b=2"]],
  );
  assert.deepEqual(varyingArguments([["a=1"]]), [["a=1"]]);
});
