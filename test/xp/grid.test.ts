// Grids: what an explorer schedules, how it is named and selected, and how it runs on this machine.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  type Explorer,
  type Grid,
  gridExperiments,
  gridNames,
  type Launcher,
  linkGrid,
  loadGrid,
  type SlurmFields,
  selectExperiments,
} from "../../src/xp/grid.ts";
import { gridTable, runGrid } from "../../src/xp/grid-run.ts";
import { LM_COLUMNS } from "../../src/xp/status.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "grid-test-"));
after(() => fs.rmSync(root, { recursive: true, force: true }));
const fake = path.join(path.dirname(fileURLToPath(import.meta.url)), "fake-train.mjs");
let dora = "";
let made = 0;

beforeEach(() => {
  dora = path.join(root, String(made++));
  process.env.AUDIOCRAFT_DORA_DIR = dora;
});

const argvs = (explorer: Explorer) => gridExperiments(explorer).map(({ argv }) => argv);
const gridOf = (explorer: Explorer): Grid => ({ name: "test", explorer, columns: LM_COLUMNS });
const command = () => [process.execPath, fake, dora];

test("bind copies, bind_ changes the launcher itself; strings, mappings and lists are overrides", () => {
  const lines = argvs((launcher) => {
    launcher.bind_({ solver: "musicgen/debug" });
    const sub = launcher.bind("seed=1", [{ "optim.lr": 0.5 }, ["device=cpu"]]);
    sub({ label: "a b", "optim.adam.betas": [0.8, 0.9] });
    launcher({ autocast: true, label: null });
  });
  assert.deepEqual(lines, [
    [
      "solver=musicgen/debug",
      "seed=1",
      "optim.lr=0.5",
      "device=cpu",
      'label="a b"',
      "optim.adam.betas=[0.8, 0.9]",
    ],
    ["solver=musicgen/debug", "autocast=true", "label=null"],
  ]);
});

test("a grid can schedule another one with its own launcher", () => {
  const inner: Explorer = (launcher) => {
    launcher("seed=1");
    launcher("seed=2");
  };
  const lines = argvs((launcher) => inner(launcher.bind({ solver: "musicgen/debug" })));
  assert.deepEqual(lines, [
    ["solver=musicgen/debug", "seed=1"],
    ["solver=musicgen/debug", "seed=2"],
  ]);
});

test("experiments with the same signature are one", () => {
  const experiments = gridExperiments((launcher) => {
    launcher("solver=musicgen/debug", "seed=1");
    launcher("solver=musicgen/debug", "seed=1", "device=cpu");
  });
  assert.equal(experiments.length, 1);
});

test("SLURM fields are kept, and a field that SLURM jobs do not have is refused", () => {
  const [experiment] = gridExperiments((launcher) =>
    launcher.slurm({ gpus: 8 }).slurm_({ time: 60 })("seed=1"),
  );
  assert.deepEqual(experiment!.slurm, { gpus: 8, time: 60 });
  assert.throws(() => gridExperiments((launcher) => launcher.slurm({ gpu: 8 } as SlurmFields)()), {
    name: "UserError",
    message: /'gpu' is not a field/,
  });
});

test("a job array schedules what is in it, and cannot be nested", () => {
  const explorer = (launcher: Launcher) => launcher.job_array(() => launcher("seed=1"));
  assert.equal(gridExperiments(explorer).length, 1);
  assert.throws(() => gridExperiments((launcher) => launcher.job_array(() => launcher.job_array(() => {}))), {
    name: "UserError",
    message: /cannot be inside another/,
  });
});

test("patterns select by index, by a part of the name, and exclude with !", () => {
  const all = gridExperiments((launcher) => {
    for (const seed of [1, 2]) for (const lr of [0.5, 0.25]) launcher({ seed, "optim.lr": lr });
  });
  const names = (...patterns: string[]) => selectExperiments(all, patterns).map(({ name }) => name);
  assert.deepEqual(names("0", "3"), [
    "solver=musicgen/tiny opt.lr=0.5 seed=1",
    "solver=musicgen/tiny opt.lr=0.25 seed=2",
  ]);
  assert.deepEqual(names("seed=1", "!lr=0.5"), ["solver=musicgen/tiny opt.lr=0.25 seed=1"]);
  assert.equal(names().length, 4);
});

test("a grid is a file, or the name of one in the folder of grids; without `explorer` it is refused", async () => {
  const folder = path.join(root, "grids");
  fs.mkdirSync(path.join(folder, "music"), { recursive: true });
  fs.writeFileSync(
    path.join(folder, "music", "lr.mjs"),
    "export const explorer = (launcher) => launcher('seed=5');\n",
  );
  fs.writeFileSync(path.join(folder, "music", "_shared.mjs"), "export const x = 1;\n");
  assert.deepEqual(gridNames(folder), ["music.lr"]);
  const byName = await loadGrid("music.lr", folder);
  assert.equal(byName.name, "music.lr");
  assert.equal(gridExperiments(byName.explorer).length, 1);
  assert.equal((await loadGrid(path.join(folder, "music", "lr.mjs"), folder)).name, "music.lr");
  await assert.rejects(loadGrid("nope", folder), {
    name: "UserError",
    message: /no grid 'nope'.*\(music\.lr\)/,
  });
  await assert.rejects(loadGrid(path.join(folder, "music", "_shared.mjs"), folder), {
    message: /must export a function/,
  });
});

test("the example grid of the project can be listed", async () => {
  const grid = await loadGrid("example.learning_rate");
  assert.equal(gridExperiments(grid.explorer).length, 6);
});

test("the grid's folder has links to its experiments, and loses those that left the grid", () => {
  const experiments = gridExperiments((launcher) => {
    launcher("seed=1");
    launcher("seed=2");
  });
  linkGrid(dora, "a.b", experiments);
  linkGrid(dora, "a.b", experiments.slice(0, 1));
  assert.deepEqual(fs.readdirSync(path.join(dora, "grids", "a.b")), [experiments[0]!.sig]);
});

test("the table names what all have in common once", () => {
  const explorer: Explorer = (launcher) => {
    launcher("seed=1", "label=x");
    launcher("seed=2", "label=x");
  };
  const table = gridTable(gridOf(explorer), gridExperiments(explorer));
  assert.match(table, /^Base name: solver=musicgen\/tiny label=x\n/);
  assert.match(table, /\| 0 \| seed=1 \| NEW +\| [0-9a-f]{8} \|/);
});

test("all run, N at a time; a failure does not stop the others and is not started again without --retry", async () => {
  const explorer: Explorer = (launcher) => {
    for (const seed of [1, 2, 3]) launcher({ seed, label: "ok" });
    launcher("label=fail");
  };
  const experiments = gridExperiments(explorer);
  const tables: string[] = [];
  const options = { jobs: 2, draw: (table: string) => tables.push(table), interval: 50, command: command() };
  const calls = () => fs.readFileSync(path.join(dora, "calls.jsonl"), "utf8").trimEnd().split("\n").length;
  assert.equal(await runGrid(gridOf(explorer), experiments, options), 1);
  assert.equal(calls(), 4);
  assert.equal(tables.at(-1)!.match(/\| FAI /g)?.length, 1);
  assert.match(fs.readFileSync(path.join(experiments[0]!.dir, "grid.log"), "utf8"), /label "?ok/);
  const failed = experiments.slice(3);
  assert.equal(await runGrid(gridOf(explorer), failed, { ...options, quiet: true }), 0);
  assert.equal(calls(), 4);
  assert.equal(await runGrid(gridOf(explorer), failed, { ...options, quiet: true, retry: true }), 1);
  assert.equal(calls(), 5);
});

test("an interruption reaches the running experiments and starts no more", async () => {
  const explorer: Explorer = (launcher) => {
    launcher("label=wait");
    launcher("label=ok");
  };
  const poll = setInterval(() => {
    if (fs.existsSync(path.join(dora, "waiting"))) {
      clearInterval(poll);
      process.emit("SIGUSR1", "SIGUSR1"); // the test runner listens to the others
    }
  }, 20);
  const options = { jobs: 1, quiet: true, draw: () => {}, command: command() };
  assert.equal(await runGrid(gridOf(explorer), gridExperiments(explorer), options), 138);
  assert.equal(fs.readFileSync(path.join(dora, "calls.jsonl"), "utf8").trimEnd().split("\n").length, 1);
});
