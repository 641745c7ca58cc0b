/** The generator against torch's. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { mixSeed, TorchRandom } from "../../src/data/random.ts";
import { goldenPath } from "./files.ts";

test("rand() gives torch.rand's float32 stream for seed 1234", () => {
  const random = new TorchRandom(1234);
  const stream: number[] = JSON.parse(readFileSync(goldenPath("torch_rand_seed1234.json"), "utf8"));
  assert.equal(stream.length, 64);
  for (const expected of stream) assert.equal(random.rand(), expected);
});

test("the 32-bit stream is the reference MT19937's (10000th output for seed 5489)", () => {
  const random = new TorchRandom(5489);
  for (let i = 0; i < 9999; i++) random.uint32();
  assert.equal(random.uint32(), 4123659995);
});

test("only the low 32 bits of a seed count", () => {
  assert.equal(new TorchRandom(2 ** 32 + 7).uint32(), new TorchRandom(7).uint32());
});

test("randint(n) is the 32-bit draw modulo n", () => {
  const [a, b] = [new TorchRandom(3), new TorchRandom(3)];
  for (let i = 0; i < 20; i++) assert.equal(a.randint(17), b.uint32() % 17);
});

test("a permutation holds every number once and depends on the seed", () => {
  const order = new TorchRandom(1).permutation(100);
  assert.deepEqual(
    [...order].sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, i) => i),
  );
  assert.notDeepEqual(order, new TorchRandom(2).permutation(100));
  assert.equal(new TorchRandom(1).permutation(0).length, 0);
});

test("mixed seeds differ when any part differs", () => {
  const seeds = new Set<number>();
  for (let a = 0; a < 30; a++) for (let b = 0; b < 30; b++) seeds.add(mixSeed(a, b));
  assert.equal(seeds.size, 900);
});
