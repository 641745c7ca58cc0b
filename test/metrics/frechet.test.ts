import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { frechetDistance, GaussianStatistics } from "../../src/metrics/frechet.ts";

interface Case {
  a: number[][];
  b: number[][];
  distance: number;
}

const cases: Case[] = JSON.parse(readFileSync(new URL("./frechet.json", import.meta.url), "utf8"));

function statistics(rows: number[][]): GaussianStatistics {
  const all = new GaussianStatistics(rows[0].length);
  for (const row of rows) all.add(row);
  return all;
}

for (const { a, b, distance } of cases) {
  test(`the distance of ${a.length} and ${b.length} embeddings of size ${a[0].length} is scipy's to 1e-6 (frechet.py)`, () => {
    const ours = frechetDistance(statistics(a), statistics(b));
    assert.ok(Math.abs(ours - distance) < 1e-6 * Math.max(1, distance), `${ours} ${distance}`);
  });
}

test("a set has no distance to itself", () => {
  const one = statistics(cases[0].a);
  assert.ok(Math.abs(frechetDistance(one, one)) < 1e-9);
});

test("one embedding has no covariance, and that is said", () => {
  assert.throws(() => frechetDistance(statistics([[1, 2]]), statistics([[1, 2]])), /needs two embeddings/);
});
