/** What a run says of its waiting for data. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type DataMoment, reportOnData } from "../../src/data/advice.ts";

const NONE = { batches: 0, batchesRead: 0, waitSeconds: 0, readSeconds: 0, brokenReads: 0 };
const START: DataMoment = {
  seconds: 10,
  stats: { ...NONE, waitSeconds: 7, readSeconds: 50, brokenReads: 3 },
};

/** 100 s later, of which some were waited. */
function later(waited: number, read: number, times = { decode: 0, resample: 0 }, broken = 0): DataMoment {
  const { waitSeconds, readSeconds, brokenReads } = START.stats;
  const stats = {
    ...NONE,
    waitSeconds: waitSeconds + waited,
    readSeconds: readSeconds + read,
    brokenReads: brokenReads + broken,
  };
  return { seconds: 110, stats, times };
}

test("an epoch's waiting and failed reads count from its start", () => {
  const { summary, advice } = reportOnData(
    START,
    later(4, 90, undefined, 2),
    { numWorkers: 2, sampleRate: 32000 },
    8,
  );
  assert.equal(
    summary,
    "data: waited 4.0 s of 100.0 s (4 %); 2 reads failed and were replaced by other draws",
  );
  assert.equal(advice, undefined);
});

test("with free cores, as many workers are advised as reading keeps busy", () => {
  // 120 s of reading fit into the 40 s of training of 3 workers.
  const { advice } = reportOnData(START, later(60, 120), { numWorkers: 2, sampleRate: 32000 }, 8);
  assert.equal(advice, "training waits for data 60 % of the time: set dataset.num_workers=3 (now 2)");
});

test("when all cores read, less work is advised: WAV files, at the model's rate, or tokens", () => {
  const times = { decode: 70, resample: 40 };
  const { advice } = reportOnData(START, later(60, 120, times), { numWorkers: 2, sampleRate: 32000 }, 2);
  assert.match(advice!, /58 % of reading is decoding: store the files as WAV/);
  assert.match(advice!, /33 % of reading is resampling: store the files at 32000 Hz/);
  assert.match(advice!, /npm run cache/);
  assert.doesNotMatch(advice!, /num_workers/);
});

test("when no number of this machine's cores suffices, all of them and less work are advised", () => {
  const { advice } = reportOnData(START, later(90, 400), { numWorkers: 0, sampleRate: 32000 }, 4);
  assert.match(advice!, /num_workers=4 \(now 0\); compute the tokens/);
});
