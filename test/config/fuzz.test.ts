// Random texts: whatever is given, an answer or a proper error comes, soon, and nothing leaks into JavaScript's own objects.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ComposedConfig, composeConfig, configFromYaml } from "../../src/config/index.ts";
import { nodeOf } from "../../src/config/merge.ts";
import { type ConfigNode, type Container, isContainer } from "../../src/config/node.ts";
import { overrideValue, parseOverride } from "../../src/config/override-grammar.ts";
import { overrideText, type Parsed, Sweep } from "../../src/config/override-value.ts";

// FUZZ_SEED and FUZZ_COUNT run other seeds, and more of them.
const firstSeed = Number(process.env.FUZZ_SEED ?? 1);
const count = Number(process.env.FUZZ_COUNT ?? 1500);
const seeds = Array.from({ length: count }, (_, i) => firstSeed + i);

/** Mulberry32: a seed gives the same text everywhere. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const overrideBits = [
  ..."abc019._-+~@=,:[]{}()'\"\\ \t$/*?|#!é",
  "${",
  "}",
  "key=",
  "a.b=",
  "+x=",
  "choice(",
  "range(",
  "interval(",
  "glob(",
  "sort(",
  "shuffle(",
  "tag(",
  "int(",
  "float(",
  "str(",
  "bool(",
  "null",
  "true",
  "1e3",
  "inf",
  "nan",
  "__proto__",
  "constructor",
  "hydra.",
  "db=",
  "\\'",
  "0x1f",
  "1_0",
];
const yamlBits = [
  ..."ab01:-#&*!|>'\"%@`{}[],\\ \t~?.=é",
  "\n",
  "\n  ",
  "\n    ",
  "- ",
  "a: ",
  "b: ",
  "? ",
  "<<: ",
  "&x ",
  "*x",
  "${",
  "}",
  "${a}",
  "${.b}",
  "${..a}",
  "${oc.env:NOPE,1}",
  "${oc.create:{a: 1}}",
  "${oc.decode:'[1,2'}",
  "${oc.select:a,b}",
  "???",
  "null",
  "yes",
  "1e3",
  "012",
  "1:30",
  "!!int ",
  "!!str ",
  "---\n",
  "...\n",
  "__proto__: ",
  "constructor: ",
  "toString: ",
  "defaults:\n  - ",
  "_self_",
  "# @package ",
  "_global_",
];

function text(bits: string[], next: () => number): string {
  const length = 1 + Math.floor(next() * 24);
  return Array.from({ length }, () => bits[Math.floor(next() * bits.length)]).join("");
}

/** Runs `action`; anything but a result or a UserError is a failure of the test. */
function properly(input: string, action: () => void): void {
  const begin = performance.now();
  try {
    action();
  } catch (error) {
    assert.equal(
      (error as Error).name.endsWith("Error") && isUserError(error),
      true,
      `${JSON.stringify(input)}: ${(error as Error).stack}`,
    );
  }
  assert.ok(performance.now() - begin < 2000, `${JSON.stringify(input)} took too long`);
}

function isUserError(error: unknown): boolean {
  for (let type = error; type; type = Object.getPrototypeOf(type)) {
    if ((type as object).constructor?.name === "UserError") return true;
  }
  return false;
}

function assertUnpolluted(): void {
  assert.deepEqual(Object.keys(Object.prototype), []);
  for (const name of ["a", "b", "x", "0"]) assert.equal(({} as Record<string, unknown>)[name], undefined);
}

test("any text as an override is parsed or refused properly", () => {
  for (const seed of seeds) {
    const input = text(overrideBits, random(seed));
    properly(input, () => overrideValue(parseOverride(input)));
    properly(`k=${input}`, () => overrideValue(parseOverride(`k=${input}`)));
  }
  assertUnpolluted();
});

test("any text as YAML is loaded, resolved and printed, or refused properly", () => {
  for (const seed of seeds) {
    const input = text(yamlBits, random(seed));
    properly(input, () => {
      const config = configFromYaml(input);
      config.toYaml();
      config.toObject();
      config.toJson();
    });
  }
  assertUnpolluted();
});

test("any override on a small tree is composed or refused properly", () => {
  const repository = new URL("../golden/conformance/trees", import.meta.url).pathname;
  for (const seed of seeds.slice(0, 300)) {
    const next = random(seed);
    const overrides = [text(overrideBits, next), `k=${text(overrideBits, next)}`, `+n.__proto__=${seed}`];
    for (const override of overrides)
      properly(override, () =>
        composeConfig({ configDir: repository, configName: null, overrides: [override] }).toYaml(),
      );
  }
  assertUnpolluted();
});

test("what is printed is read back as the same: overrides and YAML", () => {
  for (const seed of seeds) {
    const value = randomValue(random(seed), 0);
    const printed = overrideText(value as Parsed);
    const parsed = parseOverride(`k=${printed}`);
    assert.ok(!(parsed.parsed instanceof Sweep), printed);
    assert.deepEqual(overrideValue(parsed), value, printed);
    if (seed % 8 === 0) {
      const composed = composeConfig({ configDir: "/", configName: null, overrides: [`+k=${printed}`] });
      assert.deepEqual(
        composed.toYaml(),
        new ComposedConfig(nodeOf(new Map([["k", value]])) as Container).toYaml(),
      );
    }
    const node = nodeOf(new Map([["k", value]])) as ConfigNode;
    assert.ok(isContainer(node));
    const yaml = new ComposedConfig(node).toYaml();
    assert.equal(
      configFromYaml(yaml).toYaml(),
      yaml,
      JSON.stringify(value, (_, v) => (typeof v === "bigint" ? `${v}n` : v)),
    );
    assert.deepEqual(
      configFromYaml(yaml).toObject({ resolve: false }),
      new ComposedConfig(node).toObject({ resolve: false }),
      yaml,
    );
  }
});

/** A value of the override language: scalars, lists and mappings up to three levels deep. */
function randomValue(next: () => number, depth: number): unknown {
  const kind = Math.floor(next() * (depth < 3 ? 8 : 6));
  if (kind === 0) return null;
  if (kind === 1) return next() < 0.5;
  if (kind === 2) return BigInt(Math.floor((next() - 0.5) * 1e6));
  if (kind === 3) return (next() - 0.5) * 10 ** Math.floor(next() * 40 - 20);
  if (kind < 6) return randomWord(next);
  const size = Math.floor(next() * 4);
  if (kind === 6) return Array.from({ length: size }, () => randomValue(next, depth + 1));
  return new Map(
    Array.from({ length: size }, (_, i) => [`${randomKey(next)}${i}`, randomValue(next, depth + 1)]),
  );
}

/** Begins with a letter that no number, `null` or boolean begins with. */
function randomWord(next: () => number): string {
  const letters = [..."abcxyz09-_.:/ ,=()[]{}\\+*%@?|"];
  return `z${Array.from({ length: Math.floor(next() * 8) }, () => letters[Math.floor(next() * letters.length)]).join("")}q`;
}

function randomKey(next: () => number): string {
  return ["key", "__proto__", "constructor", "a b", "z:y"][Math.floor(next() * 5)]!;
}
