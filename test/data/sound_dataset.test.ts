/** Sounds: their descriptions, and pairs mixed within a batch. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readBatch } from "../../src/data/batch.ts";
import { SoundDataset, type SoundDatasetOptions, soundConditions } from "../../src/data/sound_dataset.ts";
import { mixWaves } from "../../src/data/sound_mix.ts";
import { UserError } from "../../src/errors.ts";
import { TorchGenerator } from "../../src/random/mt19937.ts";
import { rampWav, scratch, toneWav } from "./files.ts";

const folder = scratch();
const FILES = [50, 80, 110, 140].map((hertz, i) => {
  const meta = toneWav(join(folder, `${i}.wav`), 2, hertz);
  writeFileSync(join(folder, `${i}.json`), JSON.stringify({ description: `Sound ${i} ` }));
  return meta;
});
const OPTIONS: Partial<SoundDatasetOptions> = {
  segmentDuration: 1,
  minSegmentRatio: 1,
  sampleRate: 1000,
  channels: 1,
  numSamples: 40,
  sampleOnDuration: false,
  sampleOnWeight: false,
  permutationOnFiles: true,
};
const MIXING = { ...OPTIONS, augP: 1, mixP: 0.5 };
const EIGHT = [0, 1, 2, 3, 4, 5, 6, 7];

const rms = (wave: Float32Array) => Math.sqrt(wave.reduce((sum, x) => sum + x * x, 0) / wave.length);
const decibels = (value: number) => 20 * Math.log10(value);

test("a description is trimmed and in small letters", async () => {
  const { info } = await new SoundDataset([FILES[1]], OPTIONS).item(0);
  assert.equal(info.description, "sound 1");
});

test("of several descriptions one is drawn, the same for an index and epoch", async () => {
  const meta = toneWav(join(folder, "many.wav"), 2, 60);
  writeFileSync(join(folder, "many.json"), JSON.stringify({ description: ["A dog", "BARKING"] }));
  const dataset = new SoundDataset([meta], OPTIONS);
  const draw = async (epoch: number) =>
    Promise.all(EIGHT.map(async (i) => (await dataset.item(i, epoch)).info.description));
  const first = await draw(1);
  assert.deepEqual(new Set(first), new Set(["a dog", "barking"]));
  assert.deepEqual(await draw(1), first);
  assert.notDeepEqual(await draw(2), first);
});

test("sidecars may lie in another folder; the one beside the audio goes first", async () => {
  const other = join(folder, "external");
  mkdirSync(other);
  const bare = toneWav(join(folder, "bare.wav"), 2, 60);
  writeFileSync(join(other, "bare.json"), JSON.stringify({ description: "from elsewhere" }));
  writeFileSync(join(other, "1.json"), JSON.stringify({ description: "not this one" }));
  const dataset = new SoundDataset([bare, FILES[1]], { ...OPTIONS, externalMetadataSource: other });
  const texts = [(await dataset.item(0)).info.description, (await dataset.item(1)).info.description];
  assert.deepEqual(texts.sort(), ["from elsewhere", "sound 1"]);
});

test("a sound without description is replaced by another draw and named; if there is no other, that is an error", async () => {
  const mute = toneWav(join(folder, "mute.wav"), 2, 60);
  const warnings: string[] = [];
  const dataset = new SoundDataset([mute, FILES[0]], OPTIONS, (message) => warnings.push(message));
  for (const i of EIGHT) assert.equal((await dataset.item(i)).info.description, "sound 0");
  assert.equal(warnings.length, 1);
  assert.match(warnings[0], /mute\.wav: it has no description: there is no .*mute\.json/);
  await assert.rejects(new SoundDataset([mute], OPTIONS).item(0), UserError);
});

test("without aug_p a batch stays as it is; with it, mix_p of the items are left, mixed or not", async () => {
  assert.deepEqual((await readBatch(new SoundDataset(FILES, OPTIONS), EIGHT, 0)).shape, [8, 1, 1000]);
  for (const augP of [1, 1e-9]) {
    const { shape, infos } = await readBatch(new SoundDataset(FILES, { ...MIXING, augP }), EIGHT, 0);
    assert.deepEqual([shape, infos.length], [[4, 1, 1000], 4]);
  }
  const { shape } = await readBatch(new SoundDataset(FILES, MIXING), [0], 0);
  assert.deepEqual(shape, [1, 1, 1000]);
});

test("items that are not mixed are items of the batch, unchanged", async () => {
  const whole = await readBatch(new SoundDataset(FILES, OPTIONS), EIGHT, 3);
  const rows = EIGHT.map((i) => whole.wav.subarray(1000 * i, 1000 * (i + 1)));
  const chosen = await readBatch(new SoundDataset(FILES, { ...MIXING, augP: 1e-9 }), EIGHT, 3);
  for (let i = 0; i < 4; i++) {
    const row = chosen.wav.subarray(1000 * i, 1000 * (i + 1));
    const original = rows.findIndex((other) =>
      Buffer.from(other.slice().buffer).equals(Buffer.from(row.slice().buffer)),
    );
    assert.ok(original >= 0);
    assert.equal(chosen.infos[i].description, whole.infos[original].description);
  }
});

test("a mixture has both descriptions and both tones, at a level from -35 to -15 dBFS", async () => {
  const dataset = new SoundDataset(FILES, { ...MIXING, mixMinOverlap: 1 });
  let pairs = 0;
  for (const epoch of [0, 1, 2]) {
    const batch = await readBatch(dataset, EIGHT, epoch);
    for (const [i, info] of batch.infos.entries()) {
      const wave = batch.wav.subarray(1000 * i, 1000 * (i + 1));
      const level = decibels(rms(wave));
      assert.ok(
        Math.abs(level - Math.round(level)) < 1e-3 && level > -35.01 && level < -15.99,
        `${level} dB`,
      );
      const numbers = [...info.description!.matchAll(/sound (\d)/g)].map((match) => Number(match[1]));
      assert.ok(numbers.length === 2 ? numbers[0] !== numbers[1] : numbers.length === 1);
      for (const hertz of [50, 80, 110, 140]) {
        const expected = numbers.some((n) => [50, 80, 110, 140][n] === hertz);
        assert.equal(toneShare(wave, hertz) > 0.05, expected, `${info.description}: ${hertz} Hz`);
      }
      if (numbers.length === 2) pairs++;
    }
  }
  assert.ok(pairs > 4);
});

/** Share of a wave's energy in one of its tones. */
function toneShare(wave: Float32Array, hertz: number): number {
  let [re, im, energy] = [0, 0, 0];
  for (const [t, x] of wave.entries()) {
    re += x * Math.cos((2 * Math.PI * hertz * t) / 1000);
    im += x * Math.sin((2 * Math.PI * hertz * t) / 1000);
    energy += x * x;
  }
  return (2 * (re * re + im * im)) / wave.length / energy;
}

test("mixing is the same whenever a batch is asked for, and other batches and epochs are mixed otherwise", async () => {
  // One file of one segment: nothing but the mixing can differ.
  const meta = { ...FILES[0], duration: 1 };
  const dataset = new SoundDataset([meta], MIXING);
  const first = async (indices: number[], epoch: number) =>
    (await readBatch(dataset, indices, epoch)).wav[501];
  assert.equal(await first(EIGHT, 1), await first(EIGHT, 1));
  const epochs = new Set(await Promise.all([0, 1, 2, 3].map((epoch) => first(EIGHT, epoch))));
  const places = new Set(
    await Promise.all(
      [1, 2, 3, 4].map((by) =>
        first(
          EIGHT.map((i) => i + by),
          0,
        ),
      ),
    ),
  );
  assert.ok(epochs.size > 1 && places.size > 1);
});

const tone = (hertz: number) =>
  Float32Array.from({ length: 1000 }, (_, t) => 0.3 * Math.sin((2 * Math.PI * hertz * t) / 1000));
const SNR = { mixSnrLow: -5, mixSnrHigh: 5, mixMinOverlap: 1 };

test("the second sound lies below the first by the signal-to-noise ratio, an integer of the range", () => {
  const found = new Set<number>();
  for (let seed = 0; seed < 60; seed++) {
    const waves = tone(50);
    mixWaves(waves, tone(80), 1000, SNR, new TorchGenerator(seed));
    const ratio = 10 * Math.log10(toneShare(waves, 50) / toneShare(waves, 80));
    assert.ok(Math.abs(ratio - Math.round(ratio)) < 1e-2, `${ratio} dB`);
    found.add(Math.round(ratio));
  }
  assert.deepEqual([Math.min(...found), Math.max(...found)], [-5, 4]);
});

test("the second sound begins where at least mix_min_overlap of the first is left", () => {
  const starts = Array.from({ length: 60 }, (_, seed) =>
    mixWaves(tone(50), tone(80), 1000, { ...SNR, mixMinOverlap: 0.6 }, new TorchGenerator(seed)),
  );
  assert.ok(Math.min(...starts) >= 0 && Math.max(...starts) <= 400 && Math.max(...starts) > 300);
});

test("silence can be mixed, and peaks stay below full scale", () => {
  const silent = new Float32Array(1000);
  mixWaves(silent, new Float32Array(1000), 1000, SNR, new TorchGenerator(0));
  assert.ok(silent.every((x) => x === 0));
  const click = new Float32Array(1000);
  click[10] = -1;
  mixWaves(click, new Float32Array(1000), 1000, SNR, new TorchGenerator(0));
  assert.ok(Math.abs(click[10] + 0.99) < 1e-6);
});

test("conditions carry the mixed audio and its description", async () => {
  const batch = await readBatch(new SoundDataset(FILES, MIXING), EIGHT, 0);
  const wav = batch.wav.subarray(0, 1000);
  const conditions = soundConditions(batch.infos[0], wav);
  assert.equal(conditions.text.description, batch.infos[0].description);
  assert.equal(conditions.wav.self_wav.wav, wav);
});

const REFUSED: [string, RegExp, Partial<SoundDatasetOptions>][] = [
  ["mixing without a share", /mix_p/, { augP: 0.5 }],
  ["mixing of stereo", /channels=1/, { ...MIXING, channels: 2 }],
  ["an upside-down range of ratios", /mix_snr_low/, { ...MIXING, mixSnrLow: 6 }],
];
for (const [what, message, options] of REFUSED)
  test(`${what} is a user's error`, () => {
    const meta = rampWav(join(folder, "ramp.wav"), 1);
    assert.throws(
      () => new SoundDataset([meta], { ...OPTIONS, ...options }),
      (error) => error instanceof UserError && message.test(error.message),
    );
  });
