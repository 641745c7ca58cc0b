/** Crops of whole files' codes, with a codec whose codes tell which sample they are of. */
import assert from "node:assert/strict";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { checkCache } from "../../../src/data/cache/check.ts";
import { type CodingOptions, codeFiles } from "../../../src/data/cache/code_files.ts";
import { FileCodes } from "../../../src/data/cache/file_codes.ts";
import { type CacheHeader, openHeader } from "../../../src/data/cache/header.ts";
import { TokenDataset, type TokenDatasetOptions } from "../../../src/data/cache/token_dataset.ts";
import type { AudioMeta } from "../../../src/data/manifest.ts";
import { MusicDataset } from "../../../src/data/music_dataset.ts";
import { rampWav, scratch } from "../files.ts";

const folder = scratch();
const RATE = 1000;
const HOP = 100;
const SEGMENT = 2;

const files: AudioMeta[] = [5, 12.5, 3, 1].map((seconds, i) => {
  const path = join(folder, `${i}.wav`);
  writeFileSync(
    path.replace(".wav", ".json"),
    JSON.stringify({ description: `song ${i}`, genre: "Pop", key: "C" }),
  );
  return rampWav(path, seconds, RATE);
});
const crops = { segment_duration: SEGMENT, min_segment_ratio: 0.5 };
const header: CacheHeader = {
  format: 1,
  kind: "files",
  codec: {
    ...{ name: "ramp", sha256: "00", n_q: 2, card: 30000, sample_rate: RATE, channels: 1 },
    ...{ frame_rate: RATE / HOP, stereo: "none" },
  },
  crops,
};

/** Codebook 0: a frame's first sample in hops; codebook 1: 1 where there is sound. */
function encode(wav: Float32Array): Int32Array {
  const frames = Math.ceil(wav.length / HOP);
  const codes = new Int32Array(2 * frames);
  for (let f = 0; f < frames; f++) {
    codes[f] = (wav[f * HOP] * 2 ** 20) / HOP;
    codes[frames + f] = wav[f * HOP] !== 0 ? 1 : 0;
  }
  return codes;
}

const coding: CodingOptions = {
  form: {
    sampleRate: RATE,
    channels: 1,
    frameRate: RATE / HOP,
    segmentDuration: SEGMENT,
    minSegmentRatio: 0.5,
  },
  encode,
  codebooks: 2,
  job: 0,
  jobs: 1,
};

const options: Partial<TokenDatasetOptions> = {
  ...{ segmentDuration: SEGMENT, sampleRate: RATE, channels: 1, numSamples: 200, minSegmentRatio: 0.5 },
  ...{ mergeTextP: 0.5, dropDescP: 0.3, dropOtherP: 0.5, phantomWav: false },
};

async function filled(name: string, more: Partial<CodingOptions> = {}): Promise<string> {
  const cache = join(folder, name);
  await openHeader(cache, header);
  await codeFiles(cache, files, { ...coding, ...more });
  return cache;
}

const cache = await filled("cache");

test("items are those of MusicDataset: the same files and texts, their crops begin at the whole frame before, at most one frame early", async () => {
  const tokens = new TokenDataset(files, { ...options, cachePath: cache });
  const audio = new MusicDataset(files, options);
  for (const epoch of [1, 2]) {
    for (let index = 0; index < 40; index++) {
      const { info, codes } = await tokens.item(index, epoch);
      const expected = (await audio.item(index, epoch)).info;
      assert.equal(info.meta.path, expected.meta.path);
      assert.equal(info.description, expected.description);
      assert.ok(info.seekTime <= expected.seekTime + 1e-9 && expected.seekTime - info.seekTime < HOP / RATE);
      assert.ok(Math.abs(info.nFrames - expected.nFrames) <= HOP);
      assert.equal(info.totalFrames, SEGMENT * RATE);
      assert.deepEqual([codes!.codebooks, codes!.frames], [2, (SEGMENT * RATE) / HOP]);
      const start = Math.round((info.seekTime * RATE) / HOP);
      const valid = Math.ceil(info.nFrames / HOP);
      for (let f = 0; f < codes!.frames; f++) assert.equal(codes!.values[f], f < valid ? start + f : 0);
    }
  }
});

test("an epoch draws other crops and other texts than the one before, and the same ones whenever it is asked for", async () => {
  const draw = async (epoch: number) => {
    const dataset = new TokenDataset(files, { ...options, cachePath: cache });
    const items = await Promise.all(Array.from({ length: 30 }, (_, i) => dataset.item(i, epoch)));
    return items.map(({ info, codes }) => [
      info.meta.path,
      info.seekTime,
      info.description,
      [...codes!.values],
    ]);
  };
  const [first, again, second] = [await draw(1), await draw(1), await draw(2)];
  assert.deepEqual(again, first);
  for (const column of [1, 2]) {
    assert.notDeepEqual(
      second.map((item) => item[column]),
      first.map((item) => item[column]),
    );
  }
});

test("files beyond ten minutes are coded in parts that fit each other without a seam, and damage to one does not matter to crops of the others", async () => {
  const long = rampWav(join(folder, "long.wav"), 1510, RATE);
  const folderOfLong = join(folder, "long");
  await openHeader(folderOfLong, header);
  await codeFiles(folderOfLong, [long], { ...coding, form: { ...coding.form, channels: 1 } });
  const codes = new FileCodes(folderOfLong);
  const file = codes.files.get(long.path)!;
  assert.equal(file.parts.length, 3);
  const whole = codes.read(file, 0, 15100).codes;
  for (let f = 0; f < 15100; f++) assert.equal(whole.values[f], f);
  assert.deepEqual([...codes.read(file, 5998, 4).codes.values.subarray(0, 4)], [5998, 5999, 6000, 6001]);
  codes.close();

  const data = join(folderOfLong, "job-0", "files-00000.data");
  const bytes = readFileSync(data);
  bytes[20_000] ^= 1; // in the first part
  writeFileSync(data, bytes);
  const damaged = new FileCodes(folderOfLong);
  assert.equal(damaged.read(damaged.files.get(long.path)!, 6000, 1).codes.values[0], 6000);
  assert.throws(() => damaged.read(damaged.files.get(long.path)!, 5999, 1), /damaged/);
  damaged.close();
});

test("two threads that decode give the same cache as none", async () => {
  const threaded = await filled("threaded", { workers: 2 });
  for (const suffix of ["data", "index"]) {
    const name = join("job-0", `files-00000.${suffix}`);
    assert.deepEqual(readFileSync(join(threaded, name)), readFileSync(join(cache, name)));
  }
});

test("run again, nothing is coded twice; a torn end is cut off and its file coded again; two jobs share the files out", async () => {
  const path = await filled("resumed");
  let coded = 0;
  const count = (wav: Float32Array) => {
    coded++;
    return encode(wav);
  };
  const counting = { ...coding, encode: count };
  assert.equal((await codeFiles(path, files, counting)).present, 4);
  assert.equal(coded, 0);
  const shard = join(path, "job-0", "files-00000");
  truncateSync(`${shard}.data`, readFileSync(`${shard}.data`).length - 5);
  let cut = 0;
  const { present } = await codeFiles(path, files, { ...counting, onCut: (bytes) => (cut = bytes) });
  assert.deepEqual([present, coded], [3, 1]);
  assert.ok(cut > 0);
  assert.deepEqual(readFileSync(`${shard}.data`), readFileSync(join(cache, "job-0", "files-00000.data")));

  const shared = join(folder, "shared");
  await openHeader(shared, header);
  const results = [0, 1].map((job) => codeFiles(shared, files, { ...coding, job, jobs: 2 }));
  assert.deepEqual(
    (await Promise.all(results)).map((result) => result.coded),
    [2, 2],
  );
  assert.equal(new FileCodes(shared).files.size, 4);
});

test("a file that cannot be read, or that the manifest lies about, is named and left out; training names how many are missing and draws others", async () => {
  const path = join(folder, "partial");
  await openHeader(path, header);
  const lying = { ...files[2], duration: 30 };
  const rows = [files[0], lying, { ...files[1], path: join(folder, "none.wav") }];
  const named: string[] = [];
  const { unreadable } = await codeFiles(path, rows, {
    ...coding,
    onUnreadable: (...words) => named.push(words.join(": ")),
  });
  assert.equal(unreadable, 2);
  assert.match(named[0], /2\.wav: the manifest says 30 s, the file holds 3\.000 s/);
  const warnings: string[] = [];
  const dataset = new TokenDataset(rows, { ...options, cachePath: path }, (message) =>
    warnings.push(message),
  );
  for (let i = 0; i < 20; i++) assert.equal((await dataset.item(i, 1)).info.meta.path, files[0].path);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /2 of the data set's 3 files are not in the cache/);
  assert.throws(
    () => new TokenDataset([files[3]], { ...options, cachePath: path }),
    /1 of the data set's 1 files/,
  );
});

test("a damaged record is found by --check and in training, where another draw takes its place and it is named once", async () => {
  const path = await filled("damaged");
  assert.equal(checkCache(path).damaged.length, 0);
  const data = join(path, "job-0", "files-00000.data");
  const bytes = readFileSync(data);
  bytes[bytes.length - 3] ^= 1;
  writeFileSync(data, bytes);
  const { records, damaged } = checkCache(path);
  assert.equal(records, 4);
  assert.match(damaged.join(), /^[^,]*the record .*3\.wav#0 .* is damaged/);
  const warnings: string[] = [];
  const flat = { ...options, sampleOnDuration: false, cachePath: path };
  const dataset = new TokenDataset(files, flat, (message) => warnings.push(message));
  for (let i = 0; i < 40; i++) assert.notEqual((await dataset.item(i, 1)).info.meta.path, files[3].path);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /3\.wav.*checksum/);
});

test("a cache of another codec, or of shorter segments or less padding than asked for, is refused with both values", async () => {
  const other = { ...header, codec: { ...header.codec, n_q: 4, sample_rate: 32000 } };
  await assert.rejects(openHeader(cache, other), /it has n_q 2, not 4; it has sample_rate 1000, not 32000/);
  const weights = { ...header, codec: { ...header.codec, sha256: "11" } };
  await assert.rejects(openHeader(cache, weights), /other weights \(SHA-256 00, not 11\)/);
  const use = (more: object) => () => new TokenDataset(files, { ...options, ...more, cachePath: cache });
  assert.throws(use({ segmentDuration: 3 }), /segments up to 2 s, not of 3 s/);
  assert.throws(use({ minSegmentRatio: 0.25 }), /up to 1 s behind their file, not 1\.5 s/);
  assert.throws(use({ segmentDuration: null }), /whole files/);
  use({ segmentDuration: 1 })();
});
