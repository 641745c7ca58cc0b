// The command line's language: what a text means, and what is refused.
import assert from "node:assert/strict";
import { test } from "node:test";
import { overrideValue, parseOverride } from "../../src/config/override-grammar.ts";
import { overrideText, type Parsed, Sweep } from "../../src/config/override-value.ts";

const value = (text: string) => overrideValue(parseOverride(`k=${text}`));

test("unquoted words are typed: integers apart from floats, booleans and null in any case", () => {
  assert.equal(value("10_000"), 10000n);
  assert.equal(value("1.0"), 1);
  assert.equal(value("1e-5"), 1e-5);
  assert.equal(value("tRuE"), true);
  assert.equal(value("NULL"), null);
  assert.equal(value("None"), "None");
  assert.equal(value("0x10"), "0x10");
  assert.equal(value("007"), "007");
  assert.ok(Number.isNaN(value("nan")));
});

test("quotes make any text a string; in them only backslashes before a quote are escapes", () => {
  assert.equal(value("'10'"), "10");
  assert.equal(value('"a,b [c] = d"'), "a,b [c] = d");
  assert.equal(value("'it\\'s'"), "it's");
  assert.equal(value("'\\n'"), "\\n");
});

test("unquoted text may hold blanks, paths, colons and references", () => {
  assert.equal(value("a b/c:d.e"), "a b/c:d.e");
  assert.equal(value("//pretrained/facebook/encodec_32khz"), "//pretrained/facebook/encodec_32khz");
  assert.equal(value("run-${seed}"), "run-${seed}");
  assert.equal(value(""), "");
});

test("lists and mappings nest, with typed keys", () => {
  assert.deepEqual(value("[1, 2.5, [x], {a: 1}]"), [1n, 2.5, ["x"], new Map([["a", 1n]])]);
  assert.deepEqual(
    value("{1: a, b: [true, null]}"),
    new Map<unknown, unknown>([
      [1n, "a"],
      ["b", [true, null]],
    ]),
  );
});

test("+ adds, ++ forces, ~ deletes, group@package names a package", () => {
  assert.deepEqual(
    ["a=1", "+a=1", "++a=1", "~a", "~a=1"].map((text) => parseOverride(text).type),
    ["CHANGE", "ADD", "FORCE_ADD", "DEL", "DEL"],
  );
  const override = parseOverride("model/lm@a.b=x");
  assert.deepEqual([override.key, override.package], ["model/lm", "a.b"]);
});

test("casts convert, sweeps are kept apart from values", () => {
  assert.equal(value("int(3.9)"), 3n);
  assert.equal(value("str(1e3)"), "1000.0");
  assert.deepEqual(value("float([1,2])"), [1, 2]);
  assert.ok(value("a,b") instanceof Sweep);
  assert.ok(value("range(1,5)") instanceof Sweep);
});

for (const text of [
  "k",
  "k=a=b",
  "k=[1,]",
  "k=[1,,2]",
  "k={a}",
  "k='a",
  "k='a' ",
  "k=a'b",
  "k=é",
  "k=f(1)",
  "~~k",
  "1=x",
  "k=${x",
]) {
  test(`'${text}' is refused with the place of the mistake`, () => {
    assert.throws(() => parseOverride(text), {
      name: "UserError",
      message: /^cannot read override '.*' at character \d+: /,
    });
  });
}

test("what overrideText prints is read back as the same value", () => {
  const texts = [
    "1",
    "1.0",
    "-0.5",
    "1e-07",
    "null",
    "true",
    "a b",
    "'it\\'s'",
    '"x\\\\"',
    "[1,[a,'b'],{k:v}]",
    "a\\,b",
    "\\(x\\)",
    "c:\\d",
  ];
  for (const text of texts) {
    const parsed = parseOverride(`k=${text}`).parsed;
    const printed = overrideText(parsed as Parsed);
    assert.deepEqual(parseOverride(`k=${printed}`).parsed, parsed, `${text} -> ${printed}`);
  }
});
