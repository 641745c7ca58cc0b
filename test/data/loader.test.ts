/** Batches: the same for any number of workers, from any place on, and no thread that keeps the process alive. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Batch, itemWav } from "../../src/data/batch.ts";
import { buildLoaders, type DataConfig } from "../../src/data/build_loaders.ts";
import { DataLoader, type LoaderOptions } from "../../src/data/loader.ts";
import type { MusicInfo } from "../../src/data/music_dataset.ts";
import { UserError } from "../../src/errors.ts";
import { goldenPath, manifestOf, rampWav, scratch } from "./files.ts";

const folder = scratch();
const FILES = [3, 4, 6].map((seconds, i) => rampWav(join(folder, `${i}.wav`), seconds));
writeFileSync(join(folder, "1.json"), JSON.stringify({ description: "Words", genre: "pop", moods: "a, b" }));
const manifest = manifestOf(join(folder, "data.jsonl"), [
  ...FILES,
  { path: goldenPath("tone.mp3"), duration: 4 },
  { path: goldenPath("s16_44100_stereo.flac"), duration: 0.69 },
]);

function loader(options: Partial<LoaderOptions> = {}, manifestPath = manifest): DataLoader<MusicInfo> {
  const dataset = {
    segmentDuration: 0.5,
    sampleRate: 1000,
    channels: 1,
    numSamples: 22,
    mergeTextP: 0.5,
    dropOtherP: 0.5,
  };
  return new DataLoader<MusicInfo>(
    { type: "music", manifest: manifestPath, cwd: folder, options: dataset },
    { batchSize: 4, numWorkers: 0, shuffle: true, seed: 11, ...options },
  );
}

async function collect(data: DataLoader<MusicInfo>, epoch: number, start = 0): Promise<Batch<MusicInfo>[]> {
  const batches: Batch<MusicInfo>[] = [];
  for await (const batch of data.batches(epoch, start)) batches.push(batch);
  return batches;
}

const reference = await collect(loader(), 3);

test("a batch is [B, C, T], contiguous, with one info for each item; the last may be smaller", () => {
  assert.equal(reference.length, 6);
  assert.deepEqual(reference[0].shape, [4, 1, 500]);
  assert.deepEqual(reference[5].shape, [2, 1, 500]);
  for (const batch of reference) {
    assert.equal(batch.wav.length, batch.shape[0] * 500);
    assert.equal(batch.infos.length, batch.shape[0]);
    for (const [i, { meta, seekTime }] of batch.infos.entries())
      if (FILES.some(({ path }) => path === meta.path))
        assert.equal(itemWav(batch, i)[0], Math.floor(1000 * seekTime) / 2 ** 20);
  }
});

/** Shared, as threads take a while to start. */
const two = loader({ numWorkers: 2 });
after(() => two.close());

test("two workers give the same batches, texts and order as none", async () => {
  assert.deepEqual(await collect(two, 3), reference);
});

test("an epoch can be entered at any batch", async () => {
  assert.deepEqual(await collect(two, 3, 4), reference.slice(4));
  assert.deepEqual(await collect(loader(), 3, 2), reference.slice(2));
});

test("epochs differ, and a loop left early does not disturb the next", async () => {
  for await (const batch of two.batches(1)) {
    assert.notDeepEqual(batch, reference[0]);
    break;
  }
  assert.deepEqual(await collect(two, 3), reference);
});

test("one worker gives the same batches, and reads ahead no further than the prefetch window", async () => {
  const one = loader({ numWorkers: 1, prefetch: 2 });
  for await (const _ of one.batches(0)) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    break;
  }
  assert.deepEqual([one.stats.batches, one.stats.batchesRead], [1, 2]);
  assert.deepEqual(await collect(one, 3), reference);
  await one.close();
  assert.deepEqual((await collect(one, 3)).length, 6, "a closed loader starts again");
  await one.close();
});

test("waiting and reading are timed", async () => {
  const data = loader();
  await collect(data, 0);
  const { batches, waitSeconds, readSeconds } = data.stats;
  assert.equal(batches, 6);
  assert.ok(waitSeconds >= readSeconds && readSeconds > 0);
});

test("num_samples below the data set's length uses a fixed subset", async () => {
  const paths = async (epoch: number) =>
    (await collect(wholeFiles({ numSamples: 2, shuffle: true }), epoch)).flatMap(({ infos }) =>
      infos.map(({ meta }) => meta.path),
    );
  const first = await paths(0);
  assert.equal(first.length, 2);
  for (const epoch of [1, 2, 3]) assert.deepEqual((await paths(epoch)).sort(), [...first].sort());
});

function wholeFiles(options: Partial<LoaderOptions>): DataLoader<MusicInfo> {
  const dataset = { segmentDuration: null, sampleRate: 1000, channels: 1 };
  return new DataLoader<MusicInfo>(
    { type: "music", manifest, cwd: folder, options: dataset },
    { batchSize: 1, numWorkers: 0, shuffle: false, seed: 0, ...options },
  );
}

/** Paths of the files in the order of the batches. */
const names = async (data: DataLoader<MusicInfo>, epoch = 0) =>
  (await collect(data, epoch)).flatMap(({ infos }) => infos.map(({ meta }) => meta.path));

test("ranks that validate share the items without repetition", async () => {
  const all = await names(wholeFiles({}));
  const shards = [0, 1].map((rank) => wholeFiles({ rank, worldSize: 2 }));
  assert.deepEqual(
    shards.map(({ length }) => length),
    [3, 2],
  );
  assert.deepEqual([...(await names(shards[0])), ...(await names(shards[1]))].sort(), [...all].sort());
});

test("ranks that train get equally many items, which cover the data set", async () => {
  const shards = [0, 1].map((rank) => wholeFiles({ rank, worldSize: 2, shards: "even", shuffle: true }));
  const [a, b] = [await names(shards[0], 5), await names(shards[1], 5)];
  assert.deepEqual([a.length, b.length, shards[0].length], [3, 3, 3]);
  assert.equal(new Set([...a, ...b]).size, 5);
});

test("a broken file is named once however many workers meet it", async () => {
  const rows = [FILES[0], { ...FILES[1], path: join(folder, "gone.wav") }];
  const warnings: string[] = [];
  const path = manifestOf(join(folder, "broken.jsonl"), rows);
  const data = loader({ numWorkers: 2, warn: (message) => warnings.push(message) }, path);
  await collect(data, 0);
  await data.close();
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /gone\.wav/);
  assert.ok(data.stats.brokenReads > 1);
});

test("what stops a worker reaches the main thread with its message, as a user's error if it is one", async () => {
  const file = rampWav(join(folder, "soon-gone.wav"), 2);
  const data = loader({ numWorkers: 1 }, manifestOf(join(folder, "gone.jsonl"), [file]));
  rmSync(file.path);
  await assert.rejects(
    collect(data, 0),
    (error) => error instanceof UserError && /soon-gone\.wav/.test(error.message),
  );
  await data.close();
});

/** A program that takes one batch from two workers and neither closes the loader nor exits. */
const PROGRAM = (data: string) => `
  const { DataLoader } = await import(${JSON.stringify(data)});
  const options = { segmentDuration: 0.5, sampleRate: 1000, channels: 1, numSamples: 20 };
  const spec = { type: "audio", manifest: ${JSON.stringify(manifest)}, cwd: ".", options };
  const loader = new DataLoader(spec, { batchSize: 2, numWorkers: 2, shuffle: true, seed: 0 });
  let count = 0;
  for await (const batch of loader.batches(0)) if (++count === 3) break;
  for await (const batch of loader.batches(1)) { count++; break; }
  console.log("batches", count);`;

const LOADER = new URL("../../src/data/loader.ts", import.meta.url).href;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const STARTS: [string, string[], string][] = [
  ["node --import tsx main.ts", ["--import", "tsx"], "main.mts"],
  ["node main.mjs, which registers tsx", [], "main.mjs"],
];
for (const [how, flags, name] of STARTS)
  test(`workers start and the process ends by itself under ${how}`, () => {
    const tsx = pathToFileURL(join(ROOT, "node_modules/tsx/dist/esm/api/index.mjs")).href;
    const registers = name.endsWith(".mjs")
      ? `import { register } from ${JSON.stringify(tsx)};\nregister();\n`
      : "export {};\n";
    const path = join(folder, name);
    writeFileSync(path, registers + PROGRAM(LOADER));
    const environment = { ...process.env, NODE_TEST_CONTEXT: undefined };
    const { stdout, stderr, status } = spawnSync(process.execPath, [...flags, path], {
      cwd: ROOT,
      encoding: "utf8",
      timeout: 30_000,
      env: environment,
    });
    assert.deepEqual([stdout.trim(), status], ["batches 4", 0], stderr);
  });

const CONFIG: DataConfig = {
  sample_rate: 1000,
  channels: 1,
  seed: 2036,
  datasource: { max_sample_rate: 44100, max_channels: 2, train: manifest, valid: manifest, generate: null },
  dataset: {
    batch_size: 4,
    num_workers: 0,
    segment_duration: 0.5,
    num_samples: null,
    return_info: true,
    shuffle: false,
    sample_on_duration: false,
    sample_on_weight: false,
    min_segment_ratio: 0.8,
    train: {
      num_samples: 12,
      shuffle: true,
      shuffle_seed: 0,
      permutation_on_files: false,
      merge_text_p: 0.25,
      drop_desc_p: 0.5,
      drop_other_p: 0.5,
    },
    valid: { num_samples: 6, batch_size: 3 },
    evaluate: { num_samples: null },
  },
};

test("loaders are built from AudioCraft's keys, each split's over the shared ones", async () => {
  const loaders = buildLoaders<MusicInfo>(CONFIG, ["train", "valid", "evaluate", "generate"], {
    type: "music",
  });
  assert.deepEqual(Object.keys(loaders), ["train", "valid"]);
  assert.equal(loaders.train?.length, 3);
  assert.equal(loaders.valid?.length, 2);
  assert.equal(loaders.train?.dataset.options.shuffle, true);
  assert.equal(loaders.valid?.dataset.options.minSegmentRatio, 0.8);
  assert.deepEqual(await collect(loaders.valid!, 1), await collect(loaders.valid!, 2));
});

test("execute_only builds only its split", () => {
  const only = buildLoaders({ ...CONFIG, execute_only: "valid" }, ["train", "valid"], { type: "audio" });
  assert.deepEqual(Object.keys(only), ["valid"]);
});

test("permutation_on_files takes its number of samples from the updates of an epoch", () => {
  const train = { ...(CONFIG.dataset.train as object), permutation_on_files: true };
  const config = { ...CONFIG, optim: { updates_per_epoch: 5 }, dataset: { ...CONFIG.dataset, train } };
  const { train: built } = buildLoaders(config, ["train"], { type: "music", worldSize: 2 });
  assert.equal(built?.dataset.length, 2 * 4 * 5);
  assert.equal(built?.length, 5);
});

test("more workers than cores are capped, which is said once", () => {
  const warnings: string[] = [];
  const config = { ...CONFIG, dataset: { ...CONFIG.dataset, num_workers: 1000 } };
  const loaders = buildLoaders(config, ["train", "valid"], {
    type: "music",
    warn: (message) => warnings.push(message),
  });
  assert.equal(loaders.valid?.options.numWorkers, availableParallelism());
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /num_workers=1000/);
});

const WRONG: [string, RegExp, Partial<DataConfig>][] = [
  ["a rate above the source's", /max_sample_rate=44100/, { sample_rate: 48000 }],
  ["more channels than the source has", /max_channels=2/, { channels: 3 }],
  ["a source that is not a path", /datasource.train must be/, { datasource: { train: 3 } }],
  ["a missing manifest", /npm run manifest/, { datasource: { train: join(folder, "nope") } }],
  ["an unknown key", /dataset.colour/, { dataset: { ...CONFIG.dataset, colour: "red" } }],
  ["no batch size", /batch_size must be an integer/, { dataset: { ...CONFIG.dataset, batch_size: null } }],
];
for (const [what, message, change] of WRONG)
  test(`${what} is a user's error`, () => {
    assert.throws(
      () => buildLoaders({ ...CONFIG, ...change }, ["train"], { type: "music" }),
      (error) => error instanceof UserError && message.test(error.message),
    );
  });
