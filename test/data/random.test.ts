/** Draws for sampling, beyond those of the generator itself (test/random). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { mixSeed, permutation, rand53 } from "../../src/data/random.ts";
import { TorchGenerator } from "../../src/random/mt19937.ts";

test("a permutation holds every number once and depends on the seed", () => {
  const order = permutation(new TorchGenerator(1), 100);
  assert.deepEqual(
    [...order].sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, i) => i),
  );
  assert.notDeepEqual(order, permutation(new TorchGenerator(2), 100));
  assert.equal(permutation(new TorchGenerator(1), 0).length, 0);
});

test("a permutation takes one 32-bit word for each place but the last", () => {
  const [used, words] = [new TorchGenerator(9), new TorchGenerator(9)];
  permutation(used, 10);
  for (let i = 0; i < 9; i++) words.uint32();
  assert.equal(used.uint32(), words.uint32());
});

test("every order of three numbers is as likely", () => {
  const random = new TorchGenerator(0);
  const counts = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const order = permutation(random, 3).join("");
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  assert.equal(counts.size, 6);
  for (const count of counts.values()) assert.ok(Math.abs(count - 1000) < 120);
});

test("rand53 is uniform in [0, 1) and finer than 24 bits", () => {
  const random = new TorchGenerator(0);
  const draws = Array.from({ length: 2000 }, () => rand53(random));
  assert.ok(draws.every((u) => u >= 0 && u < 1));
  assert.ok(Math.abs(draws.reduce((sum, u) => sum + u, 0) / 2000 - 0.5) < 0.03);
  assert.ok(draws.some((u) => (u * 2 ** 24) % 1 !== 0));
});

test("mixed seeds differ when any part differs", () => {
  const seeds = new Set<number>();
  for (let a = 0; a < 30; a++) for (let b = 0; b < 30; b++) seeds.add(mixSeed(a, b));
  assert.equal(seeds.size, 900);
});
