/** The batches of a run's updates, written by one run and read by another. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CachedUpdates, UpdateWriter } from "../../../src/data/cache/updates.ts";
import type { MusicInfo } from "../../../src/data/music_dataset.ts";
import { cleanMusicInfo } from "../../../src/data/music_info.ts";
import { scratch } from "../files.ts";

const folder = scratch();

function item(epoch: number, batch: number, row: number) {
  const info: MusicInfo = {
    ...cleanMusicInfo({ description: `epoch ${epoch}, ${batch}/${row}`, moods: "calm slow" }),
    meta: { path: "/data/a.wav", duration: 9, sampleRate: 8, amplitude: null, weight: null, infoPath: null },
    ...{ seekTime: 1.5, nFrames: 20, totalFrames: 24, sampleRate: 8, channels: 1, jointEmbed: {} },
  };
  const values = Int16Array.from({ length: 6 }, (_, i) => epoch * 1000 + batch * 100 + row * 10 + i);
  return { info, codes: { values, codebooks: 2, frames: 3 } };
}

function write(cache: string, epochs: number[], batches = 3, rows = 4, job = 0): void {
  mkdirSync(cache, { recursive: true });
  const writer = new UpdateWriter(cache, job);
  for (const epoch of epochs) {
    for (let batch = 0; batch < batches; batch++) {
      const items = Array.from({ length: rows }, (_, row) => item(epoch, batch, row));
      writer.write(
        epoch,
        batch,
        items.map(({ codes }) => codes),
        items.map(({ info }) => info),
      );
    }
  }
  writer.close();
}

async function all(cached: CachedUpdates, epoch: number, start = 0) {
  const batches = [];
  for await (const batch of cached.batches(epoch, start)) batches.push(batch);
  return batches;
}

const options = { batchSize: 4, length: 3, frames: 3, phantomWav: false };
const cache = join(folder, "cache");
write(cache, [1, 2]);

test("infos and codes come back as they were written, from any batch on; without audio", async () => {
  const cached = new CachedUpdates(cache, options);
  for (const epoch of [1, 2]) {
    const batches = await all(cached, epoch, 1);
    assert.equal(batches.length, 2);
    for (const [i, { infos, codes, wav, shape }] of batches.entries()) {
      const items = [0, 1, 2, 3].map((row) => item(epoch, i + 1, row));
      assert.deepEqual(
        infos,
        items.map(({ info }) => info),
      );
      assert.deepEqual(codes!.shape, [4, 2, 3]);
      assert.deepEqual(
        [...codes!.values],
        items.flatMap(({ codes }) => [...codes.values]),
      );
      assert.deepEqual([wav.length, ...shape], [0, 4, 1, 0]);
    }
  }
});

test("smaller batches take each batch's first items, other ranks the next ones; larger ones are refused", async () => {
  const descriptions = async (batchSize: number, rank: number) => {
    const [batch] = await all(new CachedUpdates(cache, { ...options, batchSize, rank }), 1);
    return batch.infos.map(({ description }) => description);
  };
  assert.deepEqual(await descriptions(1, 0), ["epoch 1, 0/0"]);
  assert.deepEqual(await descriptions(2, 1), ["epoch 1, 0/2", "epoch 1, 0/3"]);
  await assert.rejects(descriptions(5, 0), /batch 0 has 4 items, too few for 1 x dataset\.batch_size=5/);
  await assert.rejects(descriptions(3, 1), /too few for 2 x/);
});

test("fewer batches than updates, an epoch that is not there, and items of another length are refused", async () => {
  assert.throws(
    () => new CachedUpdates(cache, { ...options, length: 4 }),
    /epoch 1 has 3 batches .* and 4 are needed/,
  );
  await assert.rejects(all(new CachedUpdates(cache, options), 3), /has no epoch 3 \(there: 1, 2\)/);
  await assert.rejects(all(new CachedUpdates(cache, { ...options, frames: 5 }), 1), /3 frames.* asks for 5/);
});

test("jobs that share the epochs out write beside each other; one number is one job at a time", async () => {
  const shared = join(folder, "shared");
  write(shared, [2, 4], 3, 4, 1);
  write(shared, [1, 3], 3, 4, 0);
  const cached = new CachedUpdates(shared, options);
  assert.deepEqual(cached.epochs(), [1, 2, 3, 4]);
  assert.equal((await all(cached, 2))[0].infos[0].description, "epoch 2, 0/0");
  const writer = new UpdateWriter(shared, 1);
  assert.throws(() => new UpdateWriter(shared, 1), /cache\.write_shard=1 .* in use by process/);
  writer.close();
});

test("an interrupted job that writes an epoch again from its last checkpoint adds only what is missing", async () => {
  const resumed = join(folder, "resumed");
  write(resumed, [1], 2);
  write(resumed, [1], 3);
  assert.deepEqual(
    (await all(new CachedUpdates(resumed, options), 1)).map((batch) => batch.infos.length),
    [4, 4, 4],
  );
});

test("dataset.paraphrase_source gives other wordings of the cached descriptions, the same ones each time an epoch is read", async () => {
  const source = join(folder, "wordings.json");
  writeFileSync(source, JSON.stringify({ "/data/a.json": ["one", "two", "three"] }));
  const reword = async (p: number) => {
    const cached = new CachedUpdates(cache, { ...options, paraphraseSource: source, paraphraseP: p });
    return (await all(cached, 1)).flatMap(({ infos }) => infos.map(({ description }) => description));
  };
  const always = await reword(1);
  assert.ok(always.every((text) => ["one", "two", "three"].includes(text!)) && new Set(always).size === 3);
  assert.deepEqual(await reword(1), always);
  const some = (await reword(0.5)).filter((text) => !text!.startsWith("epoch")).length;
  assert.ok(some > 0 && some < 12);
});

test("waves of NaN, as long as the audio was, stand in for conditioners that only ask for the length", async () => {
  const [batch] = await all(new CachedUpdates(cache, { ...options, phantomWav: true }), 1);
  assert.deepEqual(batch.shape, [4, 1, 24]);
  assert.ok(batch.wav.every(Number.isNaN));
});
