/** `verify`: JSON lines about folders of golden tensors, and what its exit code says. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openSafetensors, writeSafetensors } from "../src/checkpoint/safetensors.ts";

const scratch = mkdtempSync(join(tmpdir(), "verify-"));
after(() => rmSync(scratch, { recursive: true }));

interface Line {
  folder: string;
  check: string;
  error: number | null;
  tolerance: number;
  pass: boolean;
  reason?: string;
}

/** A folder with files of test/golden/<from> and a meta.json. */
function golden(name: string, from: string, files: string[], meta: object): string {
  const folder = join(scratch, name);
  mkdirSync(folder);
  for (const file of files) {
    copyFileSync(fileURLToPath(new URL(`golden/${from}/${file}`, import.meta.url)), join(folder, file));
  }
  writeFileSync(join(folder, "meta.json"), JSON.stringify(meta));
  return folder;
}

/** Adds `by` to the first value of one tensor of a file. */
async function falsify(folder: string, file: string, tensor: string, by: number): Promise<void> {
  const path = join(folder, `${file}.safetensors`);
  const reader = openSafetensors(path);
  const sources = reader.names.map((name) => {
    const values = reader.read(name);
    if (name === tensor) values[0] = Number(values[0]) + by;
    return { name, dtype: reader.dtype(name), shape: reader.shape(name), data: () => values };
  });
  reader.close();
  await writeSafetensors(path, sources);
}

function verify(...argv: string[]): { code: number | null; lines: Line[]; errors: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/launch.mjs", "verify", ...argv], {
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    encoding: "utf8",
  });
  const lines = stdout.split("\n").filter(Boolean);
  return { code: status, lines: lines.map((line) => JSON.parse(line)), errors: stderr };
}

const runs = JSON.parse(readFileSync(new URL("golden/optim/runs.json", import.meta.url), "utf8"));
const optimFiles = ["ema.safetensors", "trajectories.safetensors", "schedulers.json"];

const lmFiles = ["weights", "inputs", "outputs", "grads", "generate", "sampling", "steps_codes"];
const lmMeta = {
  config: {
    n_q: 4,
    card: 32,
    dim: 64,
    num_heads: 4,
    num_layers: 3,
    hidden_scale: 4,
    norm_first: true,
    bias_proj: false,
    bias_ff: false,
    bias_attn: false,
    causal: true,
    activation: "gelu",
    memory_efficient: true,
  },
  fuse: { cross: ["description"], prepend: [], sum: [], input_interpolate: [] },
};
const lmFolder = (name: string) =>
  golden(
    name,
    "lm_tiny",
    lmFiles.map((file) => `${file}.safetensors`),
    lmMeta,
  );

test("a folder that agrees: a line per check, each within its tolerance, and exit code 0", () => {
  const folder = golden("optim", "optim", optimFiles, runs);
  const { code, lines } = verify(folder);
  assert.equal(code, 0);
  assert.ok(lines.length >= 40);
  for (const { folder: of, check, error, tolerance, pass } of lines) {
    assert.equal(of, folder);
    assert.equal(pass, true, check);
    assert.ok(typeof error === "number" && error <= tolerance, check);
  }
});

test("one falsified value fails the checks that see it, and no others, with exit code 1", async () => {
  const folder = golden("false_optim", "optim", optimFiles, runs);
  await falsify(folder, "trajectories", "adam.v", 1e-3);
  const { code, lines } = verify(folder);
  assert.equal(code, 1);
  assert.deepEqual(
    lines.filter(({ pass }) => !pass).map(({ check }) => check),
    ["adam.v"],
  );
});

test("a language model is verified by its files, whatever its folder is called", () => {
  const { code, lines } = verify(lmFolder("some_model"));
  const failed = lines.filter(({ pass }) => !pass);
  assert.deepEqual(failed, []);
  assert.equal(code, 0);
  const names = lines.map(({ check }) => check);
  for (const name of ["cond.description", "sequence_logits", "logits", "ce", "gradients", "greedy_cfg3"]) {
    assert.ok(names.includes(name), name);
  }
});

test("double guidance: with texts alone it is guidance by the product of its coefficients; one that is not given fails", async () => {
  const folder = lmFolder("double");
  const path = join(folder, "generate.safetensors");
  const reader = openSafetensors(path);
  const values = reader.read("greedy_cfg3");
  const shape = reader.shape("greedy_cfg3");
  const dtype = reader.dtype("greedy_cfg3");
  reader.close();
  const names = ["greedy_cfg1.5_beta2", "greedy_cfg3_beta", "greedy_cfg3_double"];
  await writeSafetensors(
    path,
    names.map((name) => ({ name, dtype, shape, data: () => values })),
  );
  const meta = { ...lmMeta, generate: { greedy_cfg3_beta: { cfg_coef_beta: 1 } } };
  writeFileSync(join(folder, "meta.json"), JSON.stringify(meta));
  const { lines } = verify(folder);
  const results = names.map((name) => lines.find(({ check }) => check === name));
  assert.deepEqual(
    results.map((line) => line?.pass),
    [true, true, false],
  );
  assert.match(`${results[2]?.reason}`, /without its cfg_coef_beta/);
});

test("a falsified weight of a language model shows in its logits, loss, gradients and tokens", async () => {
  const folder = lmFolder("false_model");
  await falsify(folder, "weights", "transformer.layers.1.self_attn.in_proj_weight", 1);
  const { code, lines } = verify(folder);
  assert.equal(code, 1);
  const failed = new Set(lines.filter(({ pass }) => !pass).map(({ check }) => check));
  for (const name of ["sequence_logits", "logits", "ce", "gradients"]) assert.ok(failed.has(name), name);
  assert.ok(!failed.has("cond.description"), "conditions do not depend on it");
});

test("what cannot be checked fails with the reason, and the other checks go on", () => {
  const folder = lmFolder("unknown_fusing");
  writeFileSync(
    join(folder, "meta.json"),
    JSON.stringify({ ...lmMeta, fuse: { cross: ["melody"], sum: ["description"] } }),
  );
  const { code, lines } = verify(folder);
  assert.equal(code, 1);
  const logits = lines.find(({ check }) => check === "logits");
  assert.equal(logits?.pass, false);
  assert.equal(logits?.error, null);
  assert.match(logits?.reason ?? "", /"melody"/);
  assert.ok(lines.find(({ check }) => check === "topk5_t1.0")?.pass);
});

test("a folder of a kind that verify does not know is a failed check", () => {
  const { code, lines } = verify(golden("strange", "dropout", [], {}));
  assert.equal(code, 1);
  assert.match(lines[0].reason ?? "", /no kind that verify knows/);
});

test("a folder without meta.json, one that is not there, and no folder are user errors: exit code 2", () => {
  const empty = join(scratch, "empty");
  mkdirSync(empty);
  for (const [argv, message] of [
    [[empty], /no meta\.json/],
    [[join(scratch, "nowhere")], /there is no such folder/],
    [[], /needs the folders/],
    [["--quick"], /does not know '--quick'/],
  ] as const) {
    const { code, lines, errors } = verify(...argv);
    assert.equal(code, 2);
    assert.deepEqual(lines, []);
    assert.match(errors, message);
  }
});
