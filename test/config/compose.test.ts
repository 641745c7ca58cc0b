// Composition over small trees: who wins, where files land, what is an error and how it reads.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { applyOverrides, composeConfig, configFromYaml } from "../../src/config/index.ts";

const trees: string[] = [];

/** Writes a tree of `{ "group/option": yaml }` into a fresh folder. */
function tree(files: Record<string, string>): string {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "config-test-"));
  trees.push(root);
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(root, `${name}.yaml`);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
  }
  return root;
}

after(() => {
  for (const root of trees) fs.rmSync(root, { recursive: true, force: true });
});

const compose = (files: Record<string, string>, ...overrides: string[]) =>
  composeConfig({ configDir: tree(files), overrides }).toObject();

test("a file's own content wins over its defaults, unless _self_ says otherwise", () => {
  const db = { "db/a": "host: a\nport: 1\n" };
  assert.deepEqual(compose({ ...db, config: "defaults: [db: a]\ndb: {host: own}\n" }), {
    db: { host: "own", port: 1 },
  });
  assert.deepEqual(compose({ ...db, config: "defaults: [_self_, db: a]\ndb: {host: own}\n" }), {
    db: { host: "a", port: 1 },
  });
});

test("command line over outer file over nested file", () => {
  const files = {
    config: "defaults: [exp: outer]\n",
    "exp/outer": "# @package _global_\ndefaults: [inner, override /db: b, _self_]\n",
    "exp/inner": "# @package _global_\ndefaults: [/db: a, override /db: a]\n",
    "db/a": "v: a\n",
    "db/b": "v: b\n",
    "db/c": "v: c\n",
  };
  assert.deepEqual(compose(files), { db: { v: "b" } });
  assert.deepEqual(compose(files, "db=c"), { db: { v: "c" } });
});

test("'..' in a defaults list goes up one group", () => {
  const files = {
    config: "defaults: [g: x/y]\n",
    "g/x/y": "# @package _global_\ndefaults: [x/z]\n",
    "g/x/z": "# @package _global_\ndefaults: [../base]\n",
    "g/base": "# @package _global_\nv: 1\n",
  };
  assert.deepEqual(compose(files), { v: 1 });
});

test("__global__ in a header means the root, as AudioCraft writes it", () => {
  assert.deepEqual(compose({ config: "defaults: [g: a]\n", "g/a": "# @package __global__\nv: 1\n" }), {
    v: 1,
  });
});

test("an override of a mapping merges, of a list replaces", () => {
  const files = { config: "d: {a: 1, b: 2}\nl: [1, 2, 3]\n" };
  assert.deepEqual(compose(files, "d={a:9}", "l=[7]"), { d: { a: 9, b: 2 }, l: [7] });
});

test("a directory of the user's own adds options and groups", () => {
  const configDir = tree({ config: "defaults: [db: a]\n", "db/a": "v: a\n" });
  const own = tree({ "db/mine": "v: mine\n", "extra/e": "x: 1\n" });
  const config = composeConfig({ configDir, searchPath: [own], overrides: ["db=mine", "+extra=e"] });
  assert.deepEqual(config.toObject(), { db: { v: "mine" }, extra: { x: 1 } });
  const viaHydra = composeConfig({ configDir, overrides: ["db=mine", `hydra.searchpath=[${own}]`] });
  assert.equal(viaHydra.get("db.v"), "mine");
});

test("a value knows the file, line and column, or the override, that set it", () => {
  const config = composeConfig({ configDir: tree({ config: "a: 1\nb:\n  c: 2\n" }), overrides: ["a=5"] });
  assert.deepEqual(config.source("a"), { override: "a=5" });
  assert.deepEqual([config.source("b.c")?.line, config.source("b.c")?.column], [3, 6]);
});

test("an unknown key is refused with the nearest known one", () => {
  const files = { config: "optim: {max_norm: 1.0, lr: 0.1}\n" };
  assert.throws(() => compose(files, "optim.maxnorm=3"), {
    name: "UserError",
    message: /'optim\.maxnorm=3'.*did you mean optim\.max_norm\?.*\+optim\.maxnorm=3/,
  });
  assert.throws(() => compose(files, "max_norm=3"), { message: /did you mean optim\.max_norm\?/ });
});

test("an unknown option names the nearest one and lists all", () => {
  const files = { config: "defaults: [db: mysql]\n", "db/mysql": "v: 1\n", "db/sqlite": "v: 2\n" };
  assert.throws(() => compose(files, "db=mysq"), {
    message: /override 'db=mysq': could not find 'db\/mysq'; did you mean mysql\?.*mysql, sqlite/,
  });
});

test("an unknown group is refused with the nearest one", () => {
  const files = { config: "defaults: [db@main: mysql]\n", "db/mysql": "v: 1\n" };
  assert.throws(() => compose(files, "db=mysql"), { message: /did you mean db@main\?/ });
});

test("a syntax error in a file is reported with file, line and column", () => {
  assert.throws(() => compose({ config: "a: 1\nb: [1, 2\nc: 3\n" }), {
    name: "UserError",
    message: /config\.yaml:\d+:\d+: /,
  });
  assert.throws(() => compose({ config: "a: 1\na: 2\n" }), {
    message: /config\.yaml:2:1: duplicate key 'a'/,
  });
  assert.throws(() => compose({ config: "a: ${b\n" }), {
    message: /config\.yaml:1:4: malformed interpolation/,
  });
});

test("a file that includes itself is an error, not a hang", () => {
  assert.throws(() => compose({ config: "defaults: [config]\n" }), { message: /includes itself/ });
});

test("alias bombs and oversized files are refused", () => {
  const bomb = [
    "a0: &a0 [x, x]",
    ...Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]`),
  ].join("\n");
  assert.throws(() => configFromYaml(bomb), { message: /too many values/ });
  assert.throws(() => configFromYaml("x".repeat(10_000_000)), { message: /at most/ });
});

test("__proto__ and constructor are keys like any other", () => {
  const config = configFromYaml("__proto__: {polluted: 1}\nconstructor: 2\n");
  assert.deepEqual(Object.keys(config.toObject()), ["__proto__", "constructor"]);
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
  assert.equal(config.get("constructor"), 2);
});

test("a config written as YAML is read back the same, interpolations and 1.0 included", () => {
  const config = configFromYaml(
    "a: 1\nb: 1.0\nc: ${a}\nd: ['yes', yes, null, 1e-8, {x: ''}]\ne: \"two\\nlines\"\n",
  );
  const text = config.toYaml();
  assert.match(text, /^b: 1\.0$/m);
  assert.match(text, /^c: \$\{a\}$/m);
  assert.equal(configFromYaml(text).toYaml(), text);
  assert.deepEqual(configFromYaml(text).toObject(), config.toObject());
});

test("overrides apply to a config that was rebuilt from text, and leave the original alone", () => {
  const config = configFromYaml("duration: 8\nlm: {top_k: 250}\n");
  const changed = applyOverrides(config, ["duration=3", "lm.top_k=5", "+seed=1"]);
  assert.deepEqual(changed.toObject(), { duration: 3, lm: { top_k: 5 }, seed: 1 });
  assert.equal(config.get("duration"), 8);
  assert.throws(() => applyOverrides(config, ["durration=3"]), { message: /did you mean duration\?/ });
});

test("reading a key that does not exist, or is ???, says so", () => {
  const config = configFromYaml("optim: {lr: 0.1}\nneeded: ???\n");
  assert.throws(() => config.get("optim.lrr"), { message: /no key 'optim\.lrr'; did you mean optim\.lr\?/ });
  assert.throws(() => config.get("needed"), { name: "UserError", message: /'needed' must be given/ });
});
