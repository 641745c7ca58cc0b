// The flags of `train` and `config`, and what --cfg, --info and --help print.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { INSPECTION_FLAGS, parseCommandLine, TRAINING_FLAGS } from "../../src/config/command-line.ts";
import { helpText } from "../../src/config/help.ts";
import { configView } from "../../src/config/views.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "command-line-test-"));
after(() => fs.rmSync(root, { recursive: true, force: true }));

const files: Record<string, string> = {
  "config.yaml": "defaults: [_self_, db: a]\nx: 1\nw: ${x}\n",
  "other.yaml": "z: 2\n",
  "runtime.yaml": "jit: auto\n",
  "db/a.yaml": "defaults: [base]\nhost: ${x}\n",
  "db/b.yaml": "host: b\n",
  "db/base.yaml": "port: 1.0\n",
  "extra/db/mine.yaml": "host: mine\n",
};
for (const [name, text] of Object.entries(files)) {
  fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
  fs.writeFileSync(path.join(root, name), text);
}
const tree = ["--config-path", root, "--config-name", "config"];
const train = (...argv: string[]) => parseCommandLine(argv, TRAINING_FLAGS);
const view = (...argv: string[]) => configView(parseCommandLine([...tree, ...argv], INSPECTION_FLAGS));

test("flags stand anywhere between overrides, long or short, with a blank or with =", () => {
  const line = train("a=1", "-c", "job", "--package=optim.ema", "b=2", "--resolve");
  assert.deepEqual(line.overrides, ["a=1", "b=2"]);
  assert.equal(line.cfg, "job");
  assert.equal(line.package, "optim.ema");
  assert.ok(line.flags.has("--resolve"));
});

test("--key=value is an override unless it is a flag", () => {
  assert.deepEqual(train("--optim.lr=1", "--seed=3").overrides, ["optim.lr=1", "seed=3"]);
});

test("--info alone asks for everything, and takes a word only if it is one of its own", () => {
  assert.equal(train("--info").info, "all");
  assert.equal(train("--info", "defaults", "a=1").info, "defaults");
  const line = train("--info", "a=1");
  assert.equal(line.info, "all");
  assert.deepEqual(line.overrides, ["a=1"]);
});

test("mistakes name the flag and what it takes", () => {
  const fails = (argv: string[], message: RegExp) =>
    assert.throws(() => train(...argv), { name: "UserError", message });
  fails(["--confg-name", "x"], /unknown option '--confg-name'; did you mean --config-name\?/);
  fails(["--cfg", "jobs"], /--cfg jobs: must be one of job, hydra, all/);
  fails(["--cfg"], /--cfg needs a value: job, hydra, all/);
  fails(["-m", "--cfg", "job"], /--cfg and --multirun exclude each other/);
  fails(["--resolve"], /--resolve needs --cfg/);
  fails(["--config-dir", path.join(root, "nowhere")], /--config-dir: there is no directory/);
  fails(["--yes=1"], /--yes takes no value/);
});

test("--cfg job prints the config with its interpolations, --resolve their values", () => {
  assert.equal(view("--cfg", "job"), "jit: auto\nx: 1\nw: ${x}\ndb:\n  port: 1.0\n  host: ${x}\n");
  assert.equal(view("--cfg", "job", "--resolve"), "jit: auto\nx: 1\nw: 1\ndb:\n  port: 1.0\n  host: 1\n");
});

test("--package prints one part under a header, with interpolations that lead out of it; a scalar alone", () => {
  assert.equal(view("--cfg", "job", "-p", "db"), "# @package db\nport: 1.0\nhost: ${x}\n");
  assert.equal(view("--cfg", "job", "-p", "db", "--resolve", "x=7"), "# @package db\nport: 1.0\nhost: 7\n");
  assert.equal(view("--cfg", "job", "-p", "db.port"), "1.0\n");
  assert.equal(view("--cfg", "job", "-p", "_global_"), view("--cfg", "job"));
  assert.throws(() => view("--cfg", "job", "-p", "db.prt"), {
    name: "UserError",
    message: /did you mean db\.port\?/,
  });
});

test("--json keeps 1.0 apart from 1", () => {
  assert.equal(
    view("--cfg", "job", "--json", "-p", "db", "--resolve"),
    '{\n  "port": 1.0,\n  "host": 1\n}\n',
  );
});

test("--cfg hydra shows the choices and the overrides; --cfg all both parts", () => {
  const hydra = view("--cfg", "hydra", "db=b");
  assert.match(hydra, /^hydra:\n/);
  assert.match(hydra, / {4}choices:\n {6}db: b\n/);
  assert.match(hydra, / {4}task:\n {4}- db=b\n/);
  assert.match(hydra, /config_name: config\n/);
  const all = view("--cfg", "all");
  assert.match(all, /^jit: auto\n/);
  assert.match(all, /\nhydra:\n/);
});

test("--info defaults lists the files in merge order with package and parent", () => {
  const rows = view("--info", "defaults").split("\n");
  assert.deepEqual(rows.slice(0, 2), ["Defaults List", "*************"]);
  const cells = rows
    .filter((row) => row.startsWith("| "))
    .map((row) =>
      row
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  assert.deepEqual(cells, [
    ["Config path", "Package", "_self_", "Parent"],
    ["config", "", "True", "<root>"],
    ["db/base", "db", "False", "db/a"],
    ["db/a", "db", "True", "config"],
  ]);
});

test("--info defaults-tree indents what a file names below it", () => {
  assert.equal(
    view("--info", "defaults-tree"),
    "Defaults Tree\n*************\nconfig:\n  _self_\n  db: a:\n    db/base\n    _self_\n",
  );
});

test("--config-dir adds options of the user's own, and --info searchpath names it", () => {
  const extra = path.join(root, "extra");
  assert.match(view("--cfg", "job", "--config-dir", extra, "db=mine"), /host: mine/);
  assert.match(view("--info", "searchpath", "--config-dir", extra), /added +\| file:.*\/extra /);
});

test("--config-name chooses another primary config", () => {
  const line = parseCommandLine(["--config-path", root, "-cn", "other", "--cfg", "job"], INSPECTION_FLAGS);
  assert.equal(configView(line), "jit: auto\nz: 2\n");
});

test("--help lists every group with its options, our own keys, and keys with what they mean", () => {
  const help = helpText("train");
  assert.match(help, /^ {2}solver\/musicgen: .*musicgen_base_32khz.*tiny/m);
  assert.match(help, /^ {2}model\/lm\/model_scale: base, large, medium, small, xsmall$/m);
  assert.match(help, /^ {2}jit +how a step is executed/m);
  assert.match(help, /^ {2}optim\.lr +learning rate \(a number of at least 0\)$/m);
  assert.match(help, /--multirun/);
  assert.doesNotMatch(helpText("config"), /--multirun/);
});
