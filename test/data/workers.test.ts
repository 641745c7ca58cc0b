/** What is drawn depends on seed, epoch and index alone: the same for 0, 1, 2 and 4 workers, and from any batch on. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { itemWav } from "../../src/data/batch.ts";
import type { DatasetSpec } from "../../src/data/dataset_spec.ts";
import { DataLoader } from "../../src/data/loader.ts";
import type { SoundInfo } from "../../src/data/sound_dataset.ts";
import { manifestOf, rampWav, scratch } from "./files.ts";

const folder = scratch();
const ROWS = [
  { ...rampWav(join(folder, "a.wav"), 5), weight: 2 },
  rampWav(join(folder, "b.wav"), 10),
  { ...rampWav(join(folder, "c.wav"), 5), weight: 0 },
];
for (const name of ["a", "b", "c"])
  writeFileSync(
    join(folder, `${name}.json`),
    JSON.stringify({ description: [`${name} one`, `${name} two`], genre: "Pop" }),
  );
const manifest = manifestOf(join(folder, "data.jsonl"), ROWS);
const SAMPLES = 600;
const options = {
  segmentDuration: 0.6,
  minSegmentRatio: 0.5,
  sampleRate: 1000,
  channels: 1,
  numSamples: SAMPLES,
};
type Kind = "audio" | "music" | "sound";
const SPECS: Record<Kind, DatasetSpec> = {
  audio: { type: "audio", manifest, cwd: folder, options },
  music: {
    type: "music",
    manifest,
    cwd: folder,
    options: { ...options, mergeTextP: 0.5, dropOtherP: 0.5, jointEmbedAttributes: ["genre"] },
  },
  sound: { type: "sound", manifest, cwd: folder, options: { ...options, augP: 0.5, mixP: 0.5 } },
};

async function batches(type: Kind, numWorkers: number, start = 0) {
  const loader = new DataLoader(SPECS[type], { batchSize: 40, numWorkers, shuffle: true, seed: 7 });
  const found = [];
  for await (const batch of loader.batches(2, start)) found.push(batch);
  await loader.close();
  return found;
}

const references = {
  audio: await batches("audio", 0),
  music: await batches("music", 0),
  sound: await batches("sound", 0),
};

test("files are drawn by duration and weight: shares of .5, .5 and 0", () => {
  const paths = references.audio.flatMap(({ infos }) => infos.map(({ meta }) => meta.path));
  const shares = ROWS.map(({ path }) => paths.filter((drawn) => drawn === path).length / SAMPLES);
  assert.equal(paths.length, SAMPLES);
  assert.ok(Math.abs(shares[0] - 0.5) < 0.06, `${shares}`);
  assert.equal(shares[2], 0);
});

test("segments have their length, their mask's length and their metadata", () => {
  let padded = 0;
  for (const batch of references.audio) {
    assert.deepEqual(batch.shape, [40, 1, 600]);
    for (const [i, info] of batch.infos.entries()) {
      const wav = itemWav(batch, i);
      const start = Math.floor(1000 * info.seekTime);
      const left = 1000 * info.meta.duration - start;
      assert.equal(info.nFrames, Math.min(600, left));
      assert.ok(info.nFrames >= 300);
      assert.equal(wav[0], start / 2 ** 20);
      assert.equal(wav[info.nFrames - 1], (start + info.nFrames - 1) / 2 ** 20);
      assert.ok(wav.subarray(info.nFrames).every((x) => x === 0));
      assert.deepEqual([info.totalFrames, info.sampleRate, info.channels], [600, 1000, 1]);
      if (info.nFrames < 600) padded++;
    }
  }
  assert.ok(padded > 0);
});

test("the mixed half of a batch of sounds is left, in some batches unmixed", () => {
  const texts = references.sound.map(({ shape, infos }) => {
    assert.deepEqual(shape, [20, 1, 600]);
    return (infos as SoundInfo[]).some(({ description }) => /one .*two|two .*one/.test(description ?? ""));
  });
  assert.deepEqual(new Set(texts), new Set([true, false]));
});

for (const workers of [1, 2, 4])
  test(`${workers} workers give the same batches as none, from the first and from any other on`, async () => {
    const types = workers === 2 ? (["audio", "music", "sound"] as const) : (["sound"] as const);
    for (const type of types) assert.deepEqual(await batches(type, workers), references[type]);
    assert.deepEqual(await batches("music", workers, 11), references.music.slice(11));
  });

test("segments without audio are described as those with it, and no file is opened", async () => {
  const spec = { ...SPECS.audio, options: { ...options, loadWav: false } } as DatasetSpec;
  const gone = manifestOf(
    join(folder, "gone.jsonl"),
    ROWS.map((row) => ({ ...row, path: `${row.path}.gone` })),
  );
  const loader = new DataLoader(
    { ...spec, manifest: gone },
    { batchSize: 40, numWorkers: 0, shuffle: true, seed: 7 },
  );
  let i = 0;
  for await (const batch of loader.batches(2)) {
    assert.ok(batch.wav.every((x) => x === 0));
    for (const [row, { nFrames, seekTime }] of batch.infos.entries()) {
      const expected = references.audio[i].infos[row];
      assert.equal(seekTime, expected.seekTime);
      assert.ok(Math.abs(nFrames - expected.nFrames) <= 1);
    }
    i++;
  }
  assert.equal(i, references.audio.length);
});
