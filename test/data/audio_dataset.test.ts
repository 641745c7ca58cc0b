/** Segment sampling: the draws, their distribution, padding, and files that cannot be read. */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { AudioDataset, type AudioDatasetOptions } from "../../src/data/audio_dataset.ts";
import { collate } from "../../src/data/batch.ts";
import type { AudioMeta } from "../../src/data/manifest.ts";
import { MusicDataset, musicConditions } from "../../src/data/music_dataset.ts";
import { UserError } from "../../src/errors.ts";
import { TorchGenerator } from "../../src/random/mt19937.ts";
import { rampWav, scratch } from "./files.ts";

const folder = scratch();
const A = rampWav(join(folder, "a.wav"), 5);
const B = rampWav(join(folder, "b.wav"), 10);
const C = rampWav(join(folder, "c.wav"), 5);

const OPTIONS: Partial<AudioDatasetOptions> = {
  segmentDuration: 2,
  sampleRate: 1000,
  channels: 1,
  numSamples: 50,
};
const uniform = { ...OPTIONS, sampleOnDuration: false, sampleOnWeight: false };

test("a segment is the file's samples from its seek time on", async () => {
  const { wav, info } = await new AudioDataset([A, B], OPTIONS).item(3, 1);
  const start = Math.floor(1000 * info.seekTime);
  assert.equal(wav.length, 2000);
  for (let i = 0; i < info.nFrames; i++) assert.equal(wav[i], (start + i) / 2 ** 20);
  assert.deepEqual([info.totalFrames, info.sampleRate, info.channels], [2000, 1000, 1]);
});

test("file and seek time come from torch's stream, seeded by index, epoch and shuffle seed", async () => {
  const files = [A, B, C];
  const dataset = new AudioDataset(files, { ...uniform, shuffleSeed: 4 });
  const random = new TorchGenerator(7 + 50 * (3 + 4));
  const file = files[random.uint32() % 3];
  const { info } = await dataset.item(7, 3);
  assert.equal(info.meta.path, file.path);
  assert.equal(info.seekTime, random.rand() * (file.duration - 1));
});

test("with shuffle=false an item is seeded by its index alone", async () => {
  const dataset = new AudioDataset([A, B, C], { ...uniform, shuffle: false });
  const [first, second] = [await dataset.item(5, 1), await dataset.item(5, 2)];
  assert.deepEqual(first, second);
  const random = new TorchGenerator(5);
  assert.equal(first.info.meta.path, [A, B, C][random.uint32() % 3].path);
});

test("with shuffle=true epochs differ, and an epoch repeats itself", async () => {
  const dataset = new AudioDataset([A, B, C], OPTIONS);
  assert.deepEqual(await dataset.item(1, 2), await dataset.item(1, 2));
  assert.notDeepEqual((await dataset.item(1, 3)).info.seekTime, (await dataset.item(1, 2)).info.seekTime);
});

test("segments may reach over the end by what min_segment_ratio leaves, and are then padded with silence", async () => {
  const dataset = new AudioDataset([A], { ...OPTIONS, minSegmentRatio: 0.5 });
  let padded = 0;
  for (let i = 0; i < 50; i++) {
    const { wav, info } = await dataset.item(i);
    assert.ok(info.seekTime <= 4 && info.nFrames >= 1000);
    assert.ok(wav.subarray(info.nFrames).every((x) => x === 0));
    if (info.nFrames < 2000) padded++;
  }
  assert.ok(padded > 3);
});

test("min_segment_ratio=1 never pads a file that is long enough", async () => {
  const dataset = new AudioDataset([A], { ...OPTIONS, minSegmentRatio: 1 });
  for (let i = 0; i < 50; i++) assert.equal((await dataset.item(i)).info.nFrames, 2000);
});

/** Shares of files a (weight 2, 5 s), b (none, 10 s), c (0, 5 s) among many draws: AudioCraft's own test. */
async function shares(sampleOnDuration: boolean, sampleOnWeight: boolean): Promise<number[]> {
  const meta = [{ ...A, weight: 2 }, B, { ...C, weight: 0 }];
  const short = { segmentDuration: 0.001, numSamples: 1500, sampleOnDuration, sampleOnWeight };
  const dataset = new AudioDataset(meta, { ...OPTIONS, ...short });
  const counts = [0, 0, 0];
  for (let i = 0; i < 1500; i++) {
    const { info } = await dataset.item(i);
    counts[meta.findIndex(({ path }) => path === info.meta.path)]++;
  }
  return counts.map((count) => count / 1500);
}

const HISTOGRAMS: [boolean, boolean, number[]][] = [
  [true, true, [0.5, 0.5, 0]],
  [true, false, [0.25, 0.5, 0.25]],
  [false, true, [0.667, 0.333, 0]],
  [false, false, [0.333, 0.333, 0.333]],
];
for (const [onDuration, onWeight, expected] of HISTOGRAMS)
  test(`files are drawn by duration=${onDuration}, weight=${onWeight} in proportion`, async () => {
    const found = await shares(onDuration, onWeight);
    for (const [i, share] of expected.entries()) assert.ok(Math.abs(found[i] - share) < 0.045, `${found}`);
    if (expected[2] === 0) assert.equal(found[2], 0);
  });

test("permutation_on_files uses every file once before any again, over epochs too", async () => {
  const files = Array.from({ length: 7 }, (_, i) => rampWav(join(folder, `p${i}.wav`), 1));
  const dataset = new AudioDataset(files, { ...uniform, numSamples: 10, permutationOnFiles: true });
  const drawn: string[] = [];
  for (const epoch of [0, 1, 2])
    for (let i = 0; i < 10; i++) drawn.push((await dataset.item(i, epoch)).info.meta.path);
  for (let pass = 0; pass < 4; pass++) assert.equal(new Set(drawn.slice(7 * pass, 7 * pass + 7)).size, 7);
  assert.notDeepEqual(drawn.slice(0, 7), drawn.slice(7, 14));
});

test("options that contradict each other are refused", () => {
  assert.throws(() => new AudioDataset([A], { ...OPTIONS, permutationOnFiles: true }), UserError);
  assert.throws(
    () => new AudioDataset([A], { ...uniform, permutationOnFiles: true, shuffle: false }),
    UserError,
  );
  assert.throws(() => new AudioDataset([{ ...A, weight: 0 }], OPTIONS), /weights/);
  const nothing = { ...OPTIONS, minAudioDuration: 9, maxAudioDuration: 3 };
  assert.throws(() => new AudioDataset([A], nothing), /no file can be both/);
});

test("duration filters leave files out, with a warning from a tenth on, and an empty rest is an error", () => {
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  assert.equal(new AudioDataset([A, B, C], { ...OPTIONS, minAudioDuration: 6 }, warn).meta.length, 1);
  assert.match(warnings[0], /2 of 3 files are left out/);
  assert.equal(new AudioDataset([A, B, C], { ...OPTIONS, maxAudioDuration: 6 }).meta.length, 2);
  assert.throws(() => new AudioDataset([A], { ...OPTIONS, minAudioDuration: 60 }), /empty/);
});

test("whole files are items when there is no segment duration; batches pad them to the longest", async () => {
  const dataset = new AudioDataset([A, B], { ...OPTIONS, segmentDuration: null });
  assert.equal(dataset.length, 2);
  const batch = collate([await dataset.item(0), await dataset.item(1)]);
  assert.deepEqual(batch.shape, [2, 1, 10000]);
  assert.deepEqual(
    batch.infos.map(({ nFrames, totalFrames }) => [nFrames, totalFrames]),
    [
      [5000, 10000],
      [10000, 10000],
    ],
  );
  assert.equal(batch.wav[4999], 4999 / 2 ** 20);
  assert.equal(batch.wav[5000], 0);
});

test("segments come at the asked rate and channels", async () => {
  const { wav, info } = await new AudioDataset([A], { ...OPTIONS, sampleRate: 800, channels: 2 }).item(0);
  assert.equal(wav.length, 2 * 1600);
  assert.equal(info.totalFrames, 1600);
  assert.deepEqual(wav.subarray(0, 1600), wav.subarray(1600));
});

const broken = (name: string, content: string | Buffer): AudioMeta => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return { ...A, path };
};

test("files that cannot be read are replaced by other draws, named once each, and counted", async () => {
  const vanished = rampWav(join(folder, "vanished.wav"), 5);
  rmSync(vanished.path);
  const bad = [
    broken("empty.wav", ""),
    broken("cut.wav", "RIFF1234WAVEfmt "),
    broken("text.wav", "hello"),
    vanished,
  ];
  const named: string[] = [];
  const dataset = new AudioDataset([A, ...bad], uniform, (message, path) => {
    assert.ok(message.includes(path));
    named.push(path);
  });
  for (let i = 0; i < 50; i++) assert.equal((await dataset.item(i)).info.meta.path, A.path);
  assert.deepEqual(named.sort(), bad.map(({ path }) => path).sort());
  assert.ok(dataset.brokenReads > 50);
});

test("a file shorter than the manifest says is replaced, never silently padded", async () => {
  const lying = { ...rampWav(join(folder, "lying.wav"), 3), duration: 10 };
  const named: string[] = [];
  const dataset = new AudioDataset([A, lying], uniform, (message) => named.push(message));
  for (let i = 0; i < 20; i++) assert.equal((await dataset.item(i)).info.meta.path, A.path);
  assert.match(named[0], /the manifest says 10 s, the file holds 3.000 s/);
});

test("one good file among many broken ones is found, also by permutation", async () => {
  const bad = Array.from({ length: 40 }, (_, i) => ({ ...A, path: join(folder, `missing${i}.wav`) }));
  for (const options of [OPTIONS, { ...uniform, permutationOnFiles: true }]) {
    const { info } = await new AudioDataset([...bad, B], { ...options, maxReadRetry: 2 }).item(0);
    assert.equal(info.meta.path, B.path);
  }
});

test("when no file can be read, that is a user's error with the last reason", async () => {
  const dataset = new AudioDataset([{ ...A, path: join(folder, "gone.wav") }], OPTIONS);
  await assert.rejects(dataset.item(0), (error) => {
    return error instanceof UserError && /gone.wav: there is no such file/.test(error.message);
  });
});

const SIDECAR = {
  title: "T",
  genre: "Rock",
  bpm: 100,
  moods: ["Sad"],
  description: "A song",
  sample_rate: 1,
  duration: 99,
};

test("music items carry their sidecar's cleaned fields and keep the segment's own facts", async () => {
  writeFileSync(join(folder, "b.json"), JSON.stringify(SIDECAR));
  const dataset = new MusicDataset([B], { ...OPTIONS, jointEmbedAttributes: ["description"] });
  const { wav, info } = await dataset.item(0);
  assert.deepEqual([info.genre, info.bpm, info.moods, info.description], ["rock", 100, ["sad"], "A song"]);
  assert.equal(info.sampleRate, 1000);
  const conditions = musicConditions(info, wav);
  assert.deepEqual(
    [conditions.text.genre, conditions.text.moods, conditions.text.artist],
    ["rock", "sad", null],
  );
  const self = conditions.wav.self_wav;
  assert.deepEqual([self.shape, self.length, self.path], [[1, 1, 2000], info.nFrames, B.path]);
  assert.equal(conditions.joint_embed.description.text, "A song");
});

test("music without a sidecar has null attributes; a broken sidecar is named once", async () => {
  writeFileSync(join(folder, "c.json"), "{");
  const warnings: string[] = [];
  const dataset = new MusicDataset([A, C], uniform, (message) => warnings.push(message));
  for (let i = 0; i < 10; i++) assert.equal((await dataset.item(i)).info.description, null);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /c\.json/);
});

test("a sidecar that Python wrote may hold NaN and infinite numbers, which say nothing", async () => {
  const meta = rampWav(join(folder, "python.wav"), 3);
  writeFileSync(
    join(folder, "python.json"),
    '{"bpm": NaN, "keywords": NaN, "title": "NaN \\"-Infinity\\"", "x": -Infinity}',
  );
  const { info } = await new MusicDataset([meta], OPTIONS).item(0);
  assert.deepEqual([info.bpm, info.keywords, info.title], [null, null, 'NaN "-Infinity"']);
});

test("a source of paraphrases that is about other files is named, as its paths are likely wrong", () => {
  const source = join(folder, "elsewhere.json");
  writeFileSync(source, JSON.stringify({ "/elsewhere/b.json": ["Other words"] }));
  const warnings: string[] = [];
  new MusicDataset([B], { ...OPTIONS, paraphraseSource: source }, (message) => warnings.push(message));
  assert.match(warnings[0], /elsewhere\.json names no sidecar of this data set/);
});

test("merged descriptions repeat for an index and epoch, and differ between epochs", async () => {
  const options = { ...OPTIONS, mergeTextP: 1, dropDescP: 0.5, dropOtherP: 0.5 };
  const dataset = new MusicDataset([B], options);
  const texts = async (epoch: number) => {
    const infos = [];
    for (let i = 0; i < 12; i++) infos.push((await dataset.item(i, epoch)).info.description);
    return infos;
  };
  assert.deepEqual(await texts(1), await texts(1));
  assert.notDeepEqual(await texts(1), await texts(2));
});

test("paraphrases replace the description with their probability", async () => {
  const source = join(folder, "paraphrases.json");
  writeFileSync(source, JSON.stringify({ [join(folder, "b.json")]: ["Other words"] }));
  const dataset = new MusicDataset([B], { ...OPTIONS, paraphraseSource: source, paraphraseP: 0.5 });
  const found = new Set<string | null>();
  for (let i = 0; i < 20; i++) found.add((await dataset.item(i)).info.description);
  assert.deepEqual(found, new Set(["A song", "Other words"]));
  assert.throws(
    () => new MusicDataset([B], { ...OPTIONS, paraphraseSource: join(folder, "none.json") }),
    UserError,
  );
});
