// Files and texts that would take all memory or time are refused with a clear error; odd keys are data like any other.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { composeConfig, configFromYaml } from "../../src/config/index.ts";
import { parseOverride } from "../../src/config/override-grammar.ts";

const refused = (action: () => unknown, message: RegExp) =>
  assert.throws(action, (error: Error) => message.test(error.message));

/** Ten lines, each of which holds the one before ten times. */
const bomb = (first: string, next: (i: number) => string) =>
  [first, ...Array.from({ length: 30 }, (_, i) => next(i + 1))].join("\n");

test("aliases that multiply are refused where they pass the limit", () => {
  const lists = bomb("a0: &a0 [x]", (i) => `a${i}: &a${i} [*a${i - 1}, *a${i - 1}]`);
  refused(
    () => configFromYaml(lists, "bomb.yaml"),
    /^bomb\.yaml:\d+:\d+: too many values after expanding aliases/,
  );
  const merges = bomb("a0: &a0 {k: 1}", (i) => `a${i}: &a${i} {<<: *a${i - 1}, z${i}: *a${i - 1}}`);
  refused(() => configFromYaml(merges, "bomb.yaml"), /^bomb\.yaml:\d+:\d+: too many values/);
});

test("interpolations that multiply are refused when they are read", () => {
  const texts = bomb("a0: xxxxxxxx", (i) => `a${i}: \${a${i - 1}}\${a${i - 1}}`);
  refused(() => configFromYaml(texts).get("a30"), /more than 200000 interpolations for one value/);
  const lists = bomb("a0: [x]", (i) => `a${i}: ['\${a${i - 1}}', '\${a${i - 1}}']`);
  refused(() => configFromYaml(lists).toObject(), /more than 500000 values/);
});

test("a file over 10 MB is refused before it is read, one over 2 MB before it is parsed", () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "limits-test-"));
  try {
    fs.writeFileSync(path.join(dir, "config.yaml"), "");
    fs.truncateSync(path.join(dir, "config.yaml"), 10_000_001);
    refused(
      () => composeConfig({ configDir: dir }),
      /config\.yaml has 10000001 bytes: a config file may have at most 10000000/,
    );
    refused(() => configFromYaml(`a: 1\n#${"x".repeat(2_000_000)}`), /2000006 characters of YAML/);
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
});

test("deep nesting is refused with its place", () => {
  refused(() => configFromYaml(`a: ${"[".repeat(5000)}${"]".repeat(5000)}`), /nested too deeply/);
  refused(
    () => configFromYaml(Array.from({ length: 600 }, (_, i) => `${" ".repeat(i)}a:`).join("\n")),
    /:500:\d+: nested too deeply/,
  );
  refused(() => parseOverride(`a=${"[".repeat(5000)}`), /nested too deeply/);
  refused(() => parseOverride(`a=${"int(".repeat(5000)}`), /nested too deeply/);
});

test("__proto__, constructor and toString are keys like any other", () => {
  const text = "__proto__:\n  polluted: 1\nconstructor:\n  prototype:\n    polluted: 2\ntoString: 3\n";
  const config = configFromYaml(text);
  assert.equal(config.toYaml(), text);
  assert.equal(config.get("__proto__.polluted"), 1);
  assert.deepEqual(Object.keys(config.toObject()), ["__proto__", "constructor", "toString"]);
  const composed = composeConfig({
    configDir: os.tmpdir(),
    configName: null,
    overrides: ["+__proto__.polluted=1", "+a={__proto__: {b: 2}}"],
  });
  assert.equal(composed.get("a.__proto__.b"), 2);
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
  assert.throws(() => configFromYaml("a: 1").get("constructor"), {
    name: "UserError",
    message: /no key 'constructor'/,
  });
});
