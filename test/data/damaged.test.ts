/** Damaged files: each refused with its reason, in no time; a loader gives only what is good, and names each of the others once. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { AudioReadError } from "../../src/data/audio/audio.ts";
import { Scratch } from "../../src/data/audio/scratch.ts";
import { type Batch, itemWav } from "../../src/data/batch.ts";
import { DataLoader } from "../../src/data/loader.ts";
import { readSamples } from "../../src/data/segment_samples.ts";
import { type Damaged, makeDamagedFiles } from "./damaged_files.ts";
import { manifestOf, rampWav, scratch } from "./files.ts";

const folder = scratch();
const RATE = 8000;
const SECONDS = 4;
let damaged: Damaged[] = [];
let manifest = "";
const corpus = await makeDamagedFiles(join(folder, "bad"), SECONDS);
damaged = corpus.files;
after(corpus.close);

before(() => {
  const good = [0, 1, 2].map((i) => rampWav(join(folder, `${i}.wav`), SECONDS, RATE));
  const rows = [...good, ...damaged.map(({ meta }) => meta)].map((meta) => ({
    ...meta,
    sample_rate: meta.sampleRate,
  }));
  manifest = manifestOf(join(folder, "data.jsonl"), rows);
});

test("the corpus has 40 files and more", () => {
  assert.ok(damaged.length >= 40, `${damaged.length}`);
});

for (const { meta, reason } of damaged)
  test(`${meta.path.slice(folder.length + 5, 100)} is refused with its reason`, {
    timeout: 5000,
  }, async () => {
    const form = { segmentDuration: 3, sampleRate: RATE, channels: 1 };
    await assert.rejects(readSamples(meta, 0.9, form, new Scratch()), (error) => {
      assert.ok(error instanceof AudioReadError, `${(error as Error).stack}`);
      assert.match(error.reason, reason);
      assert.equal(error.path, meta.path);
      return true;
    });
  });

interface Outcome {
  batches: Batch[];
  warnings: string[];
  brokenReads: number;
}

/** An epoch that draws every file. */
async function readAll(numWorkers: number): Promise<Outcome> {
  const options = {
    segmentDuration: 3,
    sampleRate: RATE,
    channels: 1,
    numSamples: damaged.length + 9,
    minSegmentRatio: 1,
    sampleOnDuration: false,
    sampleOnWeight: false,
    permutationOnFiles: true,
  };
  const warnings: string[] = [];
  const loader = new DataLoader(
    { type: "audio", manifest, cwd: folder, options },
    { batchSize: 8, numWorkers, shuffle: true, seed: 1, warn: (message) => warnings.push(message) },
  );
  const batches: Batch[] = [];
  for await (const batch of loader.batches(0)) batches.push(batch);
  await loader.close();
  return { batches, warnings, brokenReads: loader.stats.brokenReads };
}

let alone: Outcome;

test("an epoch over damaged files gives whole segments of the good ones only", {
  timeout: 60_000,
}, async () => {
  alone = await readAll(0);
  for (const batch of alone.batches)
    for (const [i, info] of batch.infos.entries()) {
      const wav = itemWav(batch, i);
      const start = Math.floor(RATE * info.seekTime);
      assert.ok(wav.every((x, t) => x === (start + t) / 2 ** 20));
    }
  assert.equal(
    alone.batches.reduce((sum, { infos }) => sum + infos.length, 0),
    damaged.length + 9,
  );
});

test("each damaged file is named once, with its reason, and every failed read is counted", () => {
  for (const { meta, reason } of damaged) {
    const named = alone.warnings.filter((text) => text.includes(`${meta.path}: `));
    assert.equal(named.length, 1, meta.path);
    assert.match(named[0], reason);
  }
  assert.equal(alone.warnings.length, damaged.length);
  assert.ok(alone.brokenReads >= damaged.length, `${alone.brokenReads}`);
});

test("with two workers: the same batches, warnings and count", { timeout: 60_000 }, async () => {
  const two = await readAll(2);
  assert.deepEqual(two.batches, alone.batches);
  assert.deepEqual([...two.warnings].sort(), [...alone.warnings].sort());
  assert.equal(two.brokenReads, alone.brokenReads);
});
