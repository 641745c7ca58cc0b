/** Number formats, against what Python 3.11's format() writes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { formatNumber } from "../../src/log/python_format.ts";

const { specs, rows } = JSON.parse(
  readFileSync(new URL("../golden/log/python_numbers.json", import.meta.url), "utf8"),
) as { specs: string[]; rows: [number, ...string[]][] };

for (const [i, spec] of specs.entries()) {
  test(`${spec} writes ${rows.length} numbers as Python does`, () => {
    for (const [value, ...texts] of rows) assert.equal(formatNumber(value, spec), texts[i], String(value));
  });
}

test("infinite and missing values are written as in Python", () => {
  const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
  assert.deepEqual(
    [nan, infinity, -infinity].map((value) => formatNumber(value, ".3f")),
    ["nan", "inf", "-inf"],
  );
  assert.deepEqual(
    [nan, infinity, -infinity].map((value) => formatNumber(value, ".2E")),
    ["NAN", "INF", "-INF"],
  );
});

test("a format of another kind is refused", () => {
  for (const spec of ["", ".3", "3f", ".3x", ".3f "]) assert.throws(() => formatNumber(1, spec), RangeError);
});
