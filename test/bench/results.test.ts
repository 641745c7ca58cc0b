/** Results: rates, ratios and shares, their files, and the page that is made of them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { slug } from "../../src/bench/machine.ts";
import { BEGIN, END, tablesText, withTables } from "../../src/bench/performance_page.ts";
import { commandText } from "../../src/bench/provenance.ts";
import {
  differences,
  type Result,
  type ResultRow,
  ratesOf,
  ratiosOf,
  readResults,
  rowsOf,
  shareOf,
  writeResult,
} from "../../src/bench/results.ts";
import { SIZES } from "../../src/bench/sizes.ts";
import { alignedText, cellsOf, digits, duration } from "../../src/bench/table.ts";
import { codecWork, generationWork, parameterCounts, trainingWork } from "../../src/bench/work.ts";

const row = (program: string, seconds: number[][], changes: Partial<ResultRow> = {}): ResultRow => ({
  variant: "fp32",
  series: "step",
  program,
  seconds,
  peakBytes: 2 ** 30,
  others: 0,
  facts: { parameters: 12 },
  work: { "GFLOP/s": 100 },
  limit: { rate: "GFLOP/s", by: "fp32" },
  goal: program === "ours" ? 1.5 : null,
  bound: null,
  ...changes,
});

const result = (changes: Partial<Result> = {}): Result => ({
  what: "train",
  size: "bench",
  date: "2026-01-02T03:04:05.000Z",
  command: "npm run bench -- train",
  usable: true,
  machine: {
    name: "m-2cores",
    processor: "M",
    cores: 2,
    features: ["avx2"],
    caches: [],
    memoryBytes: 2 ** 33,
    system: "Linux",
  },
  versions: { node: "20.0.0" },
  commit: "0123456789abcdef",
  limits: { fp32: 100e9 },
  rows: [row("ours", [[2, 2], [2.1]]), row("AudioCraft", [[4, 4, 4]])],
  notes: [],
  ...changes,
});

test("rates and shares are of the median of all rounds", () => {
  const own = row("ours", [[1, 2], [4]]);
  assert.deepEqual(ratesOf(own), { "GFLOP/s": 50 });
  assert.equal(shareOf(own, { fp32: 100e9 }), 0.5);
  assert.equal(shareOf(own, {}), null);
});

test("the limit of bfloat16 is that of float32 where float32 is faster", () => {
  const own = row("ours", [[1]], { limit: { rate: "GFLOP/s", by: "bf16" } });
  assert.equal(shareOf(own, { bf16: 100e9, fp32: 200e9 }), 0.5);
});

test("the ratio is the peer's time by ours, of the same variant and series", () => {
  const rows = [row("ours", [[2]]), row("peer", [[5]]), row("peer", [[9]], { variant: "bf16" })];
  assert.deepEqual(ratiosOf(rows, rows[0]), [["peer", 2.5]]);
  assert.deepEqual(ratiosOf(rows, rows[1]), []);
});

test("a peer that computed something else is told", () => {
  const rows = [row("ours", [[1]]), row("peer", [[1]], { facts: { parameters: 13 } })];
  assert.deepEqual(differences(rows), ["parameters: 12 here, 13 with peer"]);
});

test("a case's turns become a row per program and series; goals are ours", () => {
  const turn = (step: number) => ({
    series: { step: [step] },
    peakBytes: step,
    facts: {},
    versions: {},
    others: step / 10,
  });
  const one = {
    size: null,
    variant: "fp32",
    programs: [
      { name: "ours", command: [] },
      { name: "peer", command: [] },
    ],
    work: {},
    limit: { rate: "GFLOP/s", by: "fp32" as const },
    goals: { step: 2 },
    bounds: {},
    notes: [],
  };
  const [ours, peer] = rowsOf(one, [[turn(1), turn(2)], [turn(3)]]);
  assert.deepEqual(
    [ours.seconds, ours.peakBytes, ours.others, ours.goal, ours.limit],
    [[[1], [2]], 2, 0.2, 2, null],
  );
  assert.deepEqual([peer.seconds, peer.goal], [[[3]], null]);
});

test("the table tells time, rate, share, memory, ratio and goal", () => {
  const [ours, peer] = cellsOf(result(), { series: { step: "step" } });
  assert.deepEqual(ours, [
    "ours, fp32, step",
    "2 s",
    "2 s to 2.1 s",
    "50 GFLOP/s",
    "50 %",
    "1024 MiB",
    "2.00 AudioCraft (goal 1.5: reached)",
  ]);
  assert.equal(peer.at(-1), "");
  const slow = result({ rows: [row("ours", [[4]]), row("a", [[8]]), row("b", [[5]])] });
  assert.match(cellsOf(slow, { series: {} })[0].at(-1)!, /2\.00 a 1\.25 b \(goal 1\.5: not reached\)/);
});

test("a disturbed row says so, and decides on no goal", () => {
  const disturbed = result({ rows: [row("ours", [[2]], { others: 0.4 })] });
  assert.match(cellsOf(disturbed, { series: {} })[0][0], /UNUSABLE: others used 0\.4 cores/);
  const peer = result({ rows: [row("ours", [[2]]), row("peer", [[4]], { others: 0.4 })] });
  assert.equal(cellsOf(peer, { series: {} })[0].at(-1), "2.00 peer");
});

test("numbers have three digits, and short times are in milliseconds", () => {
  assert.deepEqual([digits(1234.5), digits(12.345), digits(0.012345)], ["1235", "12.3", "0.0123"]);
  assert.deepEqual([duration(0.0123456), duration(1.23456)], ["12.3 ms", "1.23 s"]);
  assert.equal(alignedText(["a", "b"], [["long", "x"]]), "a     b\nlong  x");
});

test("of results, the newest usable one of each benchmark, size and machine is read", () => {
  const folder = mkdtempSync(join(tmpdir(), "bench-results-"));
  try {
    writeResult(folder, result());
    writeResult(folder, result({ date: "2026-01-03T00:00:00.000Z", command: "newer" }));
    writeResult(folder, result({ date: "2026-01-04T00:00:00.000Z", command: "forced", usable: false }));
    const path = writeResult(folder, result({ size: "small" }));
    assert.match(path, /train-small-2026-01-02-m-2cores\.json$/);
    assert.deepEqual(
      readResults(folder).map(({ command, size }) => [command, size]),
      [
        ["newer", "bench"],
        ["npm run bench -- train", "small"],
      ],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the page's tables are replaced between its marks, and nothing else", () => {
  const page = `before\n${BEGIN}\nold\n${END}\nafter`;
  assert.equal(withTables(page, "new"), `before\n${BEGIN}\n\nnew\n\n${END}\nafter`);
  assert.throws(() => withTables("no marks", "new"), /needs the lines/);
});

test("a section says machine, limits, command, commit and versions", () => {
  const text = tablesText([result()], null);
  assert.match(text, /## M, 2 cores; avx2; 8 GiB of memory/);
  assert.match(text, /fp32 products 100 GFLOP\/s/);
  assert.match(text, /`npm run bench -- train`, 2026-01-02, commit 0123456789ab; node 20\.0\.0/);
});

test("parameters of the sizes are those of the models: 42,364,416 and 420 M", () => {
  assert.equal(parameterCounts(SIZES.bench).all, 42364416);
  assert.equal(Math.round(parameterCounts(SIZES.small).all / 1e6), 420);
});

test("a training step is 6 operations per parameter and position; a generation reads fewer weights than there are", () => {
  const work = trainingWork(SIZES.bench);
  assert.equal(work["GFLOP/s"], (6 * 42364416 * 4 * 501) / 1e9);
  assert.ok(work["GFLOP/s without input embeddings"] < work["GFLOP/s"]);
  const { "GB/s of weights": read } = generationWork(SIZES.small, 100, 4);
  assert.ok(read < (103 * 4 * parameterCounts(SIZES.small).all) / 1e9);
});

test("encoding and decoding ten seconds cost as much as PyTorch counts: 61 GFLOP of convolutions and 16.8 of the LSTM", () => {
  assert.equal(codecWork().decode["GFLOP/s"].toFixed(2), (60.973056 + 16.777216).toFixed(2));
});

test("the command that is kept has no path of this machine's", () => {
  assert.equal(commandText(["train", "--peer", "/x/python"]), "npm run bench -- train --peer PYTHON");
  assert.equal(commandText(["train", "--peer=/x/python"]), "npm run bench -- train --peer=PYTHON");
});

test("a machine's name is fit for files", () => {
  assert.equal(slug("Intel(R) Xeon(R) CPU @ 2.20GHz"), "intel-xeon-2-20ghz");
});
