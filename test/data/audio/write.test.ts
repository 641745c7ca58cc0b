/** writeAudio: every format reads back as what was written, in place, and what a format cannot hold is refused. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { audioInfo, readAudio } from "../../../src/data/audio/read.ts";
import { type AudioFormat, formatOf, writeAudio } from "../../../src/data/audio/write.ts";
import { UserError } from "../../../src/errors.ts";
import { maxDifference, scratch } from "../files.ts";

const folder = scratch();

/** Two sweeps below 5 kHz with a level that moves. */
function sweeps(sampleRate: number, channels: number, seconds = 1.234): Float32Array[] {
  return Array.from({ length: channels }, (_, c) =>
    Float32Array.from({ length: Math.floor(seconds * sampleRate) }, (_, i) => {
      const t = i / sampleRate;
      return 0.6 * Math.sin(2 * Math.PI * (300 + 200 * c) * t * (1 + t)) * Math.sin(7 * t + c);
    }),
  );
}

/** Signal to noise in dB. */
function quality(read: Float32Array[], written: Float32Array[]): number {
  let signal = 0;
  let noise = 0;
  for (const [c, channel] of written.entries())
    for (const [i, x] of channel.entries()) {
      signal += x * x;
      noise += (x - read[c][i]) ** 2;
    }
  return 10 * Math.log10(signal / noise);
}

for (const channels of [1, 2]) {
  for (const [format, bits, step] of [
    ["wav", 16, 2 ** -15],
    ["wav", 24, 2 ** -23],
    ["wav", 32, 0],
    ["flac", undefined, 2 ** -15],
  ] as const) {
    test(`${format} of ${bits ?? 16} bits and ${channels} channels reads back to half a step`, async () => {
      const path = join(folder, `exact_${bits}_${channels}.${format}`);
      const samples = sweeps(32000, channels);
      await writeAudio(path, { samples, sampleRate: 32000 }, { bits });
      const read = await readAudio(path);
      assert.equal(read.sampleRate, 32000);
      assert.ok(maxDifference(read.samples, samples) <= step / 2 + 1e-9);
    });
  }
  for (const [format, options, least] of [
    ["mp3", {}, 40],
    ["mp3", { mp3Rate: 64 }, 15],
    ["ogg", {}, 20],
    ["ogg", { oggQuality: 10 }, 30],
  ] as const) {
    const name = JSON.stringify(options);
    test(`${format} ${name} of ${channels} channels has the same length, in place, ${least} dB above its noise`, async () => {
      const path = join(folder, `lossy_${channels}_${Object.values(options)}.${format}`);
      const samples = sweeps(32000, channels);
      await writeAudio(path, { samples, sampleRate: 32000 }, options);
      const read = await readAudio(path, { decoder: "wasm" });
      assert.deepEqual([read.sampleRate, read.samples.length], [32000, channels]);
      assert.equal(read.samples[0].length, samples[0].length);
      const found = quality(read.samples, samples);
      assert.ok(found >= least, `${found.toFixed(1)} dB`);
    });
  }
}

for (const sampleRate of [16000, 24000, 32000, 44100, 48000]) {
  test(`MP3 at ${sampleRate} Hz gives back every length from one frame on`, async () => {
    for (const frames of [1152, 1153, sampleRate, sampleRate + 701]) {
      const path = join(folder, "length.mp3");
      const samples = sweeps(sampleRate, 1, 2).map((channel) => channel.subarray(0, frames));
      await writeAudio(path, { samples, sampleRate });
      assert.equal((await audioInfo(path, { decoder: "wasm" })).frames, frames);
    }
  });
}

test("an MP3's size follows its bit rate", async () => {
  const clip = { samples: sweeps(44100, 2, 4), sampleRate: 44100 };
  for (const mp3Rate of [96, 320]) {
    const path = join(folder, `rate_${mp3Rate}.mp3`);
    await writeAudio(path, clip, { mp3Rate });
    const measured = (8 * statSync(path).size) / 4 / 1000;
    assert.ok(Math.abs(measured / mp3Rate - 1) < 0.04, `${measured} kbit/s`);
  }
});

test("full scale does not wrap around in any format", async () => {
  for (const format of ["wav", "flac", "mp3", "ogg"] as AudioFormat[]) {
    const path = join(folder, `loud.${format}`);
    const samples = [Float32Array.from({ length: 32000 }, (_, i) => 1.5 * Math.sin(i / 50))];
    await writeAudio(path, { samples, sampleRate: 32000 });
    const [read] = (await readAudio(path, { decoder: "wasm" })).samples;
    for (let i = 0; i < read.length; i++)
      if (Math.abs(samples[0][i]) > 1) assert.ok(read[i] * samples[0][i] > 0.5, `${format}: sample ${i}`);
  }
});

test("a float WAV keeps what is beyond full scale", async () => {
  const path = join(folder, "beyond.wav");
  const samples = [Float32Array.of(0, 1.5, -2)];
  await writeAudio(path, { samples, sampleRate: 8000 }, { bits: 32 });
  assert.deepEqual((await readAudio(path)).samples, samples);
});

test("FLAC holds 96 kHz", async () => {
  const path = join(folder, "high.flac");
  const samples = sweeps(96000, 1, 0.3);
  await writeAudio(path, { samples, sampleRate: 96000 });
  const read = await readAudio(path);
  assert.equal(read.sampleRate, 96000);
  assert.ok(maxDifference(read.samples, samples) <= 2 ** -16 + 1e-9);
});

test("the format goes before the name, and the name's extension says it otherwise", async () => {
  const path = join(folder, "named.bin");
  const samples = sweeps(16000, 1, 0.2);
  await writeAudio(path, { samples, sampleRate: 16000 }, { format: "flac" });
  assert.equal(readFileSync(path).toString("latin1", 0, 4), "fLaC");
  assert.equal(formatOf("a/B.MP3"), "mp3");
  assert.throws(() => formatOf("song.aac"), { name: "UserError", message: /no encoder for \.aac; .*\.flac/ });
});

test("what a format cannot hold is refused in the user's words, and no half file stays behind", async () => {
  const target = join(folder, "refused");
  mkdirSync(target);
  const refuse = (name: string, samples: Float32Array[], sampleRate: number, message: RegExp, options = {}) =>
    assert.rejects(writeAudio(join(target, name), { samples, sampleRate }, options), (error: Error) => {
      assert.ok(error instanceof UserError, String(error));
      assert.match(error.message, message);
      return true;
    });
  const second = sweeps(8000, 1, 1);
  await refuse("a.mp3", second, 22254, /MP3 has no sample rate of 22254 Hz; it has .*32000/);
  await refuse("a.mp3", second, 8000, /no bit rate of 100 kbit/, { mp3Rate: 100 });
  await refuse("a.mp3", sweeps(8000, 3), 8000, /one or two channels, not 3/);
  await refuse("a.ogg", sweeps(8000, 3), 8000, /one or two channels, not 3/);
  await refuse("a.wav", [Float32Array.of(0, Number.NaN)], 8000, /NaN at sample 1/);
  await refuse("a.wav", [new Float32Array(0)], 8000, /no samples/);
  writeFileSync(join(target, "file"), "");
  await refuse("file/a.wav", second, 8000, /cannot make its folder/);
  assert.deepEqual(readdirSync(target), ["file"]);
});
