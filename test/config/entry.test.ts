// The commands as a user runs them: what they print, how they fail, and that none of them loads TensorFlow.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { PROJECT_ROOT } from "../../src/config/index.ts";
import { openExperiment } from "../../src/xp/folder.ts";
import { trainSignature } from "../../src/xp/signature.ts";

const doraDir = fs.mkdtempSync(path.join(os.tmpdir(), "entry-test-"));
after(() => fs.rmSync(doraDir, { recursive: true, force: true }));

function run(...argv: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [path.join("scripts", "launch.mjs"), ...argv],
    {
      cwd: PROJECT_ROOT,
      encoding: "utf8",
      env: { ...process.env, AUDIOCRAFT_DORA_DIR: doraDir, AUDIOCRAFT_TEAM: "", AUDIOCRAFT_CONFIG: "" },
    },
  );
  return { code: status, out: stdout, err: stderr };
}

test("train --cfg and config print the same, and config --sig the signature of the run", () => {
  const argv = ["solver=musicgen/debug", "seed=7"];
  assert.equal(run("train", ...argv, "--cfg", "job").out, run("config", ...argv).out);
  assert.equal(run("config", ...argv, "--sig").out, `${trainSignature(argv).sig}\n`);
});

test("-f puts the command line of an experiment before what was given", () => {
  const experiment = openExperiment(doraDir, trainSignature(["solver=musicgen/debug", "seed=1", "label=x"]));
  experiment.close();
  const { out, err } = run(
    "train",
    "-f",
    experiment.sig.slice(0, 6),
    "seed=2",
    "--cfg",
    "hydra",
    "-p",
    "hydra.overrides.task",
  );
  assert.equal(
    out,
    "# @package hydra.overrides.task\n- solver=musicgen/debug\n- seed=1\n- label=x\n- seed=2\n",
    err,
  );
});

test("a mistake is one message on stderr, without a stack, and exit code 1", () => {
  const { code, out, err } = run("config", "optim.max_nrm=1");
  assert.equal(code, 1);
  assert.equal(out, "");
  assert.match(err, /^error: override 'optim\.max_nrm=1': .*did you mean .*optim\.max_norm/);
  assert.doesNotMatch(err, / at .*\.ts/);
});

test("xp list shows the experiments of the folder that the environment names", () => {
  assert.match(run("xp", "list").out, /\| NEW +\|.* seed=1 +\|/);
});

test("commands that only read the config import neither TensorFlow nor what computes with it", () => {
  const heavy = ["runtime", "nn", "models", "solvers", "optim", "losses", "data"].map((name) =>
    path.join(PROJECT_ROOT, "src", name),
  );
  for (const command of ["config", "train", "xp", "complete", "completion", "conformance"]) {
    const seen = importedBy(path.join(PROJECT_ROOT, "src", `${command}.ts`));
    for (const file of seen) {
      assert.ok(!heavy.some((folder) => file.startsWith(folder + path.sep)), `${command} imports ${file}`);
      assert.ok(!file.includes("@tensorflow"), `${command} imports ${file}`);
    }
    assert.ok(seen.size > 3, `${command}: the imports were found`);
  }
});

/** Every file that is imported from here on, also lazily; the training itself is what `train` loads last. */
function importedBy(file: string, seen = new Set<string>()): Set<string> {
  const training = path.join(PROJECT_ROOT, "src", "train", "experiment.ts");
  if (seen.has(file) || file === training) return seen;
  seen.add(file);
  if (!fs.existsSync(file)) return seen; // a package
  const text = fs.readFileSync(file, "utf8").replace(/import type [^;]*;/g, "");
  for (const [, name] of text.matchAll(/(?:from|import\() ?"([^"]+)"/g)) {
    importedBy(name!.startsWith(".") ? path.resolve(path.dirname(file), name!) : name!, seen);
  }
  return seen;
}
