// YAML as OmegaConf reads and writes it, in the places where YAML libraries disagree.
import assert from "node:assert/strict";
import { test } from "node:test";
import { dumpYaml } from "../../src/config/dump-yaml.ts";
import { type MappingNode, ValueNode } from "../../src/config/node.ts";
import { loadYaml } from "../../src/config/yaml.ts";

const scalar = (text: string) => ((loadYaml(`v: ${text}\n`) as MappingNode).get("v") as ValueNode).value;

test("1e-4 is a float without a dot; .5e2, 0o17, dates, y and n are texts", () => {
  assert.equal(scalar("1e-4"), 1e-4);
  for (const text of [".5e2", "0o17", "2024-01-02", "y", "n", "1_e5", "1__0e1", "._5"])
    assert.equal(scalar(text), text);
});

test("yes, on and their opposites are booleans; 017 is octal; 1:30 is 90; underscores may stand in numbers", () => {
  assert.equal(scalar("yes"), true);
  assert.equal(scalar("Off"), false);
  assert.equal(scalar("017"), 15n);
  assert.equal(scalar("1:30"), 90n);
  assert.equal(scalar("10_000"), 10000n);
});

test("a tab may stand in quotes and comments, not between tokens", () => {
  assert.equal(scalar('"a\tb" # c\td'), "a\tb");
  assert.throws(() => loadYaml("a:\n\tb: 1\n"), { name: "UserError", message: /:2:1: / });
  assert.throws(() => loadYaml("a: 1\t\n"), { message: /a tab cannot/ });
});

test("unknown tags, null keys, repeated keys and several documents are refused", () => {
  for (const text of ["a: !x 1\n", "null: 1\n", "a: {b: 1, b: 2}\n", "a: 1\n---\nb: 2\n", "a: [???]\n"]) {
    assert.throws(() => loadYaml(text), { name: "UserError" }, text);
  }
});

test("what would be read as another type is quoted; long texts are folded at 80 columns", () => {
  const dump = (text: string) => dumpYaml(new ValueNode(text));
  assert.equal(dump("1e3"), "'1e3'\n");
  assert.equal(dump("2024-01-01"), "'2024-01-01'\n");
  assert.equal(dump("a\n b"), '"a\\n b"\n');
  assert.ok(
    dump("word ".repeat(40).trim())
      .split("\n")
      .every((line) => line.length <= 86),
  );
});
