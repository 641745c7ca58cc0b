// Team files, clusters, and names of files that begin with "//".
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { composeTrainConfig } from "../../src/config/index.ts";
import { detectCluster, loadEnvironment, mapDatasetPath } from "../../src/xp/environment.ts";
import { openExperiment, resolveDoraDir } from "../../src/xp/folder.ts";
import { resolveCheckpointFile, resolveReference } from "../../src/xp/reference.ts";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "environment-test-"));
after(() => fs.rmSync(root, { recursive: true, force: true }));

const teamFile = path.join(root, "team.yaml");
fs.writeFileSync(
  teamFile,
  `default:
  dora_dir: ${root}/dora
  reference_dir: ${root}/reference
  partitions: {global: g, team: t}
  slurm_exclude: node1
  dataset_mappers:
    "^/old/([a-z]+)": '/new/\\1/$x'
    "x$": y
aws:
  dora_dir: relative
`,
);
const env = { AUDIOCRAFT_CONFIG: teamFile, AUDIOCRAFT_CLUSTER: "default" };

test("AUDIOCRAFT_TEAM chooses a file of config/teams, AUDIOCRAFT_CLUSTER its section", () => {
  const labs = loadEnvironment({ AUDIOCRAFT_TEAM: "labs", AUDIOCRAFT_CLUSTER: "rsc" });
  assert.equal(labs.referenceDir, "/checkpoint/audiocraft/shared/reference");
  assert.deepEqual(labs.partitions, { global: "learn", team: "learn" });
  assert.equal(loadEnvironment({ AUDIOCRAFT_CLUSTER: "default" }).team, "default");
});

test("AUDIOCRAFT_CONFIG names a file; AUDIOCRAFT_DORA_DIR and AUDIOCRAFT_REFERENCE_DIR win over it", () => {
  const own = loadEnvironment(env);
  assert.equal(own.doraDir, path.join(root, "dora"));
  assert.equal(own.slurmExclude, "node1");
  const changed = loadEnvironment({ ...env, AUDIOCRAFT_DORA_DIR: "/d", AUDIOCRAFT_REFERENCE_DIR: "/r" });
  assert.deepEqual([changed.doraDir, changed.referenceDir], ["/d", "/r"]);
});

test("mistakes name the variable, the file and the sections there are", () => {
  const fails = (variables: NodeJS.ProcessEnv, message: RegExp) =>
    assert.throws(() => loadEnvironment(variables), { name: "UserError", message });
  fails({ AUDIOCRAFT_TEAM: "nobody" }, /AUDIOCRAFT_TEAM=nobody: there is no file .*nobody\.yaml/);
  fails({ ...env, AUDIOCRAFT_CLUSTER: "mars" }, /no section 'mars'.*default, aws/);
  fails({ ...env, AUDIOCRAFT_CLUSTER: "aws" }, /'aws\.reference_dir' must be a path/);
});

test("clusters are told apart by the names of kernel and host", () => {
  assert.equal(detectCluster("5.15.0-1040-aws", "x", "linux"), "aws");
  assert.equal(detectCluster("5", "a.ec2.internal", "linux"), "aws");
  assert.equal(detectCluster("5", "learn.fair", "linux"), "fair");
  assert.equal(detectCluster("5", "h1.facebook.com", "linux"), "rsc");
  assert.equal(detectCluster("5", "laptop", "darwin"), "darwin");
  assert.equal(detectCluster("5", "laptop", "linux"), "default");
});

test("dataset mappers are applied in order, with Python's groups and plain dollars", () => {
  assert.equal(mapDatasetPath("/old/abc/1.wav", loadEnvironment(env)), "/new/abc/$x/1.wav");
  assert.equal(mapDatasetPath("/old/abc", loadEnvironment(env)), "/new/abc/$y");
});

test("a team that is named decides where experiments are; the default one leaves them in the project", () => {
  const config = composeTrainConfig([]);
  assert.equal(resolveDoraDir(config, env), path.join(root, "dora"));
  assert.equal(resolveDoraDir(config, { ...env, AUDIOCRAFT_DORA_DIR: "/d" }), "/d");
  assert.match(resolveDoraDir(config, {}), /outputs$/);
});

test("//reference/, //sig/ and plain paths lead to files; //pretrained/ is no path", () => {
  const environment = loadEnvironment(env);
  const options = { doraDir: environment.doraDir, environment };
  fs.mkdirSync(path.join(root, "reference", "codec"), { recursive: true });
  const experiment = openExperiment(environment.doraDir, { sig: "abcd1234", argv: [] });
  experiment.close();
  assert.equal(resolveReference("//reference/codec", options), path.join(root, "reference", "codec"));
  assert.equal(resolveReference("//sig/abcd1234", options), experiment.dir);
  assert.equal(resolveReference("//sig/abcd/.argv.json", options), experiment.path(".argv.json"));
  assert.equal(resolveReference("//pretrained/encodec", options), "//pretrained/encodec");
  assert.equal(resolveReference("some/file", options), path.resolve("some/file"));
  const fails = (name: string, message: RegExp) =>
    assert.throws(() => resolveReference(name, options), { name: "UserError", message });
  fails("//reference/missing", /\/\/reference\/missing: there is no /);
  fails("//sig/ffff", /no experiment 'ffff'/);
  fails("//other/x", /begin with \/\/reference/);
});

test("as a checkpoint a folder stands for the newest one in it", () => {
  const environment = loadEnvironment(env);
  const options = { doraDir: environment.doraDir, environment };
  const folder = path.join(root, "dora", "xps", "abcd1234");
  assert.throws(() => resolveCheckpointFile("//sig/abcd1234", options), {
    name: "UserError",
    message: /no checkpoint in/,
  });
  fs.writeFileSync(path.join(folder, "checkpoint.safetensors"), "");
  assert.equal(resolveCheckpointFile("//sig/abcd1234", options), path.join(folder, "checkpoint.safetensors"));
});
