/** Generated samples lie where AudioCraft puts them, under its ids, and are found again across epochs and runs. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readAudio } from "../../src/data/audio/read.ts";
import { createLogger } from "../../src/log/logger.ts";
import { Trackers } from "../../src/log/trackers/build.ts";
import { audioId, sampleId } from "../../src/solvers/sample_id.ts";
import { type NewSample, readSamples, type SampleFiles, writeSample } from "../../src/solvers/samples.ts";
import { tellEarlierSamples, trackedSample } from "../../src/solvers/tracked_samples.ts";

const root = mkdtempSync(join(tmpdir(), "musicgen-samples-"));
after(() => rmSync(root, { recursive: true, force: true }));

/** Two channels, 0 to 7 eighths. */
const ramp = [0, 4].map((first) => Float32Array.from({ length: 4 }, (_, i) => (first + i) / 8));

const plain: NewSample = {
  index: 0,
  seed: 7,
  audio: [new Float32Array(1600).fill(0.25)],
  sampleRate: 16000,
  conditions: { description: "slow piano" },
  prompt: null,
  reference: null,
  generationArgs: { top_k: 250 },
};
const wav: SampleFiles = { format: "wav", levels: { strategy: "clip" } };

// Expected: AudioCraft 1.3.0's SampleManager on the same inputs.
for (const [what, index, prompt, conditions, expected] of [
  [
    "texts, sorted by name, their words joined by hyphens",
    3,
    null,
    { description: "Rock & roll, 120 bpm: D'Angelo's  café_live -", bpm: "120" },
    "119862e4ee395af9096f7c5261292bcf45c66bbd_unprompted_bpm=120-description=rock-roll-120-bpm-dangelos-cafe_live",
  ],
  [
    "a text that is null",
    0,
    null,
    { description: null },
    "44934f915e9b73ce8431dcd1dbb6aba94fda896c_unprompted_description=none",
  ],
  [
    "a prompt, a path and characters that JSON escapes",
    1,
    ramp,
    { self_wav: "/data/ä\u007f 🎵.wav", description: '"x"\n' },
    "f1c24c5f5a1f1f8ea17fa4f69c4a386540758e60_prompted_description=x-self_wav=dataa-wav",
  ],
  ["a prompt alone", 1, ramp, {}, "8ce91339c95653d4ed49795ff06d2299655b8fd3_prompted_unconditioned"],
  [
    "a text whose name would be too long",
    2,
    null,
    { description: "very ".repeat(40) },
    `bd48f4b05943e27dbfebb10fc18f17f6b7db11f9_unprompted_description=${"very-".repeat(17)}ver`,
  ],
  [
    "a text without ASCII letters",
    2,
    null,
    { description: "音楽" },
    "aea67fbe0cdb5df0032ae9210ccb41540582883f_unprompted_description=",
  ],
] as const) {
  test(`the id is AudioCraft's for ${what}`, () => {
    const input = { index, prompt: prompt as Float32Array[] | null, conditions, seed: 1 };
    assert.equal(sampleId(input as never), expected);
  });
}

test("a prompt's id is AudioCraft's: of the sum of its channels", () => {
  assert.equal(audioId(ramp), "fbe213b5759fab24df817aefc6333f24b7eec6f1");
});

test("a sample from nothing has the name of a random UUID that a restarted run finds again", () => {
  const free = { conditions: {}, prompt: null, seed: 7 };
  const id = sampleId({ ...free, index: 0 });
  assert.match(id, /^noinput_[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
  assert.equal(sampleId({ ...free, index: 0 }), id);
  assert.notEqual(sampleId({ ...free, index: 1 }), id);
  assert.notEqual(sampleId({ ...free, index: 0, seed: 8 }), id);
});

test("a sample, its prompt and its reference lie in AudioCraft's folders, and the JSON has its fields", async () => {
  const folder = join(root, "layout");
  const prompt = [new Float32Array(400).fill(0.5)];
  const reference = [new Float32Array(3200).fill(-0.5)];
  const { sample } = await writeSample(folder, 2, { ...plain, prompt, reference }, wav);
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath ?? file.path, file.name).slice(folder.length + 1))
    .sort();
  const [promptId, referenceId] = [prompt, reference].map(audioId);
  const expected = [`2/${sample.id}.json`, `2/${sample.id}.wav`, `2/prompt/${promptId}.wav`];
  assert.deepEqual(files, [...expected, `reference/${referenceId}.wav`].sort());
  assert.deepEqual(JSON.parse(readFileSync(join(folder, files[0]), "utf8")), {
    id: sample.id,
    path: join(folder, `2/${sample.id}.wav`),
    epoch: 2,
    duration: 0.1,
    conditioning: { description: "slow piano" },
    prompt: { id: promptId, path: join(folder, `2/prompt/${promptId}.wav`), duration: 0.025 },
    reference: { id: referenceId, path: join(folder, `reference/${referenceId}.wav`), duration: 0.2 },
    generation_args: { top_k: 250 },
  });
});

test("a reference is stored once, also when the format of files changes", async () => {
  const folder = join(root, "once");
  const reference = [new Float32Array(3200).fill(-0.5)];
  const { sample } = await writeSample(folder, 1, { ...plain, reference }, wav);
  writeFileSync(sample.reference!.path, "as it was");
  await writeSample(folder, 2, { ...plain, reference }, { ...wav, format: "flac" });
  assert.deepEqual(readdirSync(join(folder, "reference")), [`${sample.reference!.id}.wav`]);
  assert.equal(readFileSync(sample.reference!.path, "utf8"), "as it was");
});

test("levels are set as generate.audio says, in prompts and references too", async () => {
  const loud = [new Float32Array(800).fill(1.5)];
  const { sample } = await writeSample(
    join(root, "levels"),
    1,
    { ...plain, audio: loud, prompt: loud, reference: loud },
    { format: "wav", levels: { strategy: "clip", peakClipHeadroomDb: 6 } },
  );
  for (const { path } of [sample, sample.prompt!, sample.reference!]) {
    const { samples } = await readAudio(path);
    assert.ok(Math.abs(samples[0][0] - 10 ** (-6 / 20)) < 1e-4, path);
  }
});

test("samples are read by epoch and by id, from where the folder is now; a damaged description is left out", async () => {
  const [before, folder] = [join(root, "before"), join(root, "moved")];
  for (const epoch of [10, 9]) {
    await writeSample(before, epoch, { ...plain, prompt: [new Float32Array(8)] }, wav);
    await writeSample(before, epoch, { ...plain, index: 1 }, wav);
  }
  writeFileSync(join(before, "9", "damaged.json"), '{"id": "cut sho');
  renameSync(before, folder);
  const { byEpoch, byId } = readSamples(folder);
  assert.deepEqual(
    [...byEpoch].map(([epoch, samples]) => [epoch, samples.length]),
    [
      [9, 2],
      [10, 2],
    ],
  );
  assert.equal(byId.size, 2);
  for (const epochs of byId.values()) {
    assert.deepEqual([...epochs.keys()], [9, 10]);
    for (const { path, prompt } of epochs.values()) {
      assert.ok(path.startsWith(folder));
      assert.equal((await readAudio(path)).samples[0].length, 1600);
      if (prompt) assert.equal((await readAudio(prompt.path)).samples[0].length, 8);
    }
  }
});

test("a folder without samples has none", () => {
  assert.equal(readSamples(join(root, "nothing")).byEpoch.size, 0);
});

test("a tracked sample is a WAV file and a PNG, whatever format the files have", async () => {
  const { sample, clip } = await writeSample(join(root, "tracked"), 1, plain, { ...wav, format: "mp3" });
  const tracked = await trackedSample(sample, clip);
  assert.equal(Buffer.from(tracked.wav).toString("latin1", 0, 4), "RIFF");
  assert.equal(Buffer.from(tracked.picture).toString("latin1", 1, 4), "PNG");
  assert.deepEqual([tracked.frames, tracked.channels, tracked.sampleRate], [1600, 1, 16000]);
  assert.equal(tracked.caption, "description: slow piano");
});

for (const media of [true, false]) {
  test(`a resumed run ${media ? "tells" : "does not tell"} TensorBoard of earlier samples with with_media_logging=${media}`, async () => {
    const xp = join(root, `resumed-${media}`);
    const folder = join(xp, "samples");
    for (const epoch of [1, 2, 3]) await writeSample(folder, epoch, plain, wav);
    const config = {
      logging: { log_tensorboard: true, log_wandb: false },
      tensorboard: { with_media_logging: media, sub_dir: null },
      wandb: {},
    };
    const log = createLogger({ terminal: null });
    const trackers = new Trackers(config, { signature: "1", folder: xp, config: {}, log }, []);
    await tellEarlierSamples(trackers, folder, 2); // epoch 3 will be done again
    const [events] = readdirSync(join(xp, "tensorboard"));
    const bytes = readFileSync(join(xp, "tensorboard", events));
    assert.equal(bytes.toString("latin1").split("RIFF").length - 1, media ? 2 : 0);
  });
}
