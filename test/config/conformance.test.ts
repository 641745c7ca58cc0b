// A sample of the cases that real Hydra, OmegaConf and Dora answered: at least one success and one failure per feature.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Answer, answer, type Case } from "./conformance-answers.ts";
import { registerTestResolvers } from "./test-resolvers.ts";

const folder = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../golden/conformance");
const lines = fs.readFileSync(path.join(folder, "cases.jsonl"), "utf8").split("\n").filter(Boolean);

const environment = {
  CONF_USER: "ada",
  CONF_EMPTY: "",
  CONF_NUM: "42",
  CONF_FLOAT: "1.50",
  CONF_LIST: "[1, 2, x]",
  CONF_DICT: "{a: 1, b: [true, null]}",
  CONF_BOOL: "true",
  CONF_NULL: "null",
  CONF_INTERP: "${n.a}",
  CONF_DATASET: "cifar",
  CONF_SPACE: " x ",
  CONF_QUOTED: "'7'",
};

before(() => {
  registerTestResolvers();
  Object.assign(process.env, environment);
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
