/** The random stream: the published one of MT19937, and PyTorch's way of drawing from it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { TorchGenerator } from "../../src/random/mt19937.ts";

const golden = JSON.parse(readFileSync(new URL("../golden/dropout/dropout.json", import.meta.url), "utf8"));

test("the 10000th word of seed 5489 is the one that the C++ standard names", () => {
  const generator = new TorchGenerator(5489);
  for (let i = 1; i < 10000; i++) generator.uint32();
  assert.equal(generator.uint32(), 4123659995);
});

test("rand draws what torch.rand draws with seed 1234", () => {
  const generator = new TorchGenerator(1234);
  const stream: number[] = golden.torch_rand_seed1234_first64_one_by_one;
  assert.deepEqual(
    stream.map(() => generator.rand()),
    stream,
  );
});

test("randint takes one word modulo n, as torch.randint", () => {
  const words = new TorchGenerator(1234);
  const generator = new TorchGenerator(1234);
  for (const n of [1, 2, 10, 1000003, 2 ** 31, 2 ** 32])
    assert.equal(generator.randint(n), words.uint32() % n);
});

test("a state that went through JSON continues the stream, across a refill of the 624 words", () => {
  const generator = new TorchGenerator(3);
  for (let i = 0; i < 620; i++) generator.uint32();
  const restored = new TorchGenerator(0);
  restored.restore(JSON.parse(JSON.stringify(generator.state())));
  for (let i = 0; i < 700; i++) assert.equal(restored.uint32(), generator.uint32());
});

test("only the low 32 bits of a seed count, as in torch", () => {
  assert.equal(new TorchGenerator(2 ** 32 + 7).uint32(), new TorchGenerator(7).uint32());
});

test("what is not a seed, a bound or a state is refused", () => {
  const generator = new TorchGenerator(0);
  assert.throws(() => new TorchGenerator(0.5), RangeError);
  for (const n of [0, 1.5, 2 ** 32 + 1]) assert.throws(() => generator.randint(n), RangeError);
  assert.throws(() => generator.restore([1, 2, 3]), RangeError);
  assert.throws(() => generator.restore(new Array(625).fill(-1)), RangeError);
});
