/** What benchmarks rest on: summaries, the use of the processor by others, options. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { busySeconds, othersBetween, ownSeconds } from "../../src/bench/processor.ts";
import { growth, spread } from "../../src/bench/statistics.ts";
import { benchmarkNamed } from "../../src/bench/suite.ts";
import { main } from "../../src/bench.ts";

test("the median of an even number of values is the mean of the middle two", () => {
  assert.deepEqual(spread([5, 1, 4, 2]), { median: 3, lowest: 1, highest: 5 });
  assert.deepEqual(spread([7]), { median: 7, lowest: 7, highest: 7 });
  assert.throws(() => spread([]), RangeError);
});

test("growth is seen from the middle to the last third: filling caches at first is none", () => {
  assert.equal(growth([10, 50, 90, 100, 100, 100, 100, 100, 100]), 0);
  assert.equal(growth([0, 0, 0, 10, 20, 30, 40, 50, 60]), 30);
});

test("busy time is user, nice, system and stolen time, in hundredths of a second", () => {
  assert.equal(busySeconds("cpu  100 20 3 4000 50 6 7 200 0 0\ncpu0 1 1 1 1\n"), 3.23);
});

test("our time is that of the process and of the children that have ended, whatever its name", () => {
  assert.equal(ownSeconds("42 (a) b (c)) S 1 42 42 0 -1 4194560 9 9 9 9 100 20 3 4000 20 0 7 0 1"), 41.23);
});

test("what others use is what is busy but not ours, per second", () => {
  const from = { time: 10, busy: 100, own: 5 };
  assert.equal(othersBetween(from, { time: 14, busy: 107, own: 10 }), 0.5);
  assert.equal(othersBetween(from, { time: 14, busy: 104, own: 10 }), 0);
});

test("benchmarks go by the names that users expect", () => {
  const names = ["train-step", "generation", "encodec", "t5", "dataloader", "start-up", "compose"];
  assert.deepEqual(names.map(benchmarkNamed), [
    "train",
    "generate",
    "codec",
    "t5",
    "data",
    "start",
    "config",
  ]);
  assert.equal(benchmarkNamed("speed"), null);
});

test("unknown benchmarks, options and formats are refused", async () => {
  await assert.rejects(main(["speed"]), /no benchmark 'speed'/);
  await assert.rejects(main(["data", "--fast"]), /does not know '--fast'/);
  await assert.rejects(main(["data", "--runs", "0"]), /--runs needs a number/);
  await assert.rejects(main(["data", "--formats=wav,aac"]), /'aac' is none of/);
  await assert.rejects(main(["train", "--size", "huge"]), /'huge' is none of/);
  await assert.rejects(main(["train", "--peer"]), /needs the path of a Python/);
});
