// A sample of the cases that real Hydra, OmegaConf and Dora answered: at least one success and one failure per feature.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PROJECT_ROOT } from "../../src/config/index.ts";
import { type Answer, answer, CASE_ENVIRONMENT, type Case } from "../../src/conformance/answers.ts";

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../golden/conformance");
const lines = fs.readFileSync(path.join(folder, "cases.jsonl"), "utf8").split("\n").filter(Boolean);

before(() => {
  Object.assign(process.env, CASE_ENVIRONMENT);
});

const byFeature = new Map<string, string[]>();
for (const line of lines) {
  const { kind, feature } = JSON.parse(line);
  const name = `${kind}/${feature}`;
  byFeature.set(name, [...(byFeature.get(name) ?? []), line]);
}

for (const [feature, cases] of byFeature) {
  test(`${feature}: the same answers as the original tools`, () => {
    for (const line of cases) compare(JSON.parse(line), answer(line, path.join(folder, "trees")));
  });
}

function compare(c: Case, given: Answer): void {
  if ("expect_error" in c) {
    assert.ok(
      given.expect_error,
      `${c.id} must fail (${c.expect_error}), got ${JSON.stringify(given.expect)}`,
    );
    return;
  }
  assert.equal(given.expect_error, undefined, `${c.id} must succeed`);
  let [expected, actual] = [c.expect, given.expect as Case];
  // An override's answer is a record of which the case lists more fields than are asked for here.
  if (c.kind === "override")
    expected = Object.fromEntries(Object.keys(actual).map((key) => [key, c.expect[key]]));
  if (c.unordered) [expected, actual] = [sorted(expected), sorted(actual)];
  assert.deepEqual(actual, expected, c.id);
  assert.equal(JSON.stringify(actual), JSON.stringify(expected), `${c.id}: key order`);
  assert.deepEqual(
    [...(given.int_floats ?? [])].sort(),
    [...(c.int_floats ?? [])].sort(),
    `${c.id}: integers and floats`,
  );
}

function sorted(record: Case): Case {
  return { ...record, value: [...record.value].sort() };
}

test("the command prints one line of JSON per case, in order, also into a pipe", () => {
  const launcher = path.join(PROJECT_ROOT, "scripts", "launch.mjs");
  const args = [launcher, "conformance", path.join(folder, "cases.jsonl"), path.join(folder, "trees")];
  const printed = execFileSync(process.execPath, args, {
    encoding: "utf8",
    env: { ...process.env, CONF_USER: "other" },
  });
  const ids = printed
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line).id);
  assert.deepEqual(
    ids,
    lines.map((line) => JSON.parse(line).id),
  );
});
