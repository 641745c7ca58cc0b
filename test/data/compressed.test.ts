/** FLAC, MP3, Vorbis and Opus: segments equal the whole decode, delays are removed, damage is noticed. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { AudioReadError } from "../../src/data/audio/audio.ts";
import { findFfmpeg } from "../../src/data/audio/ffmpeg.ts";
import { audioInfo, type ReadOptions, readAudio } from "../../src/data/audio/read.ts";
import { resample } from "../../src/data/audio/resample.ts";
import { UserError } from "../../src/errors.ts";
import { goldenPath, maxDifference, scratch } from "./files.ts";

const folder = scratch();

/** The tone files were encoded from this (plus noise at -40 dB): two sweeps of 4 s at 44.1 kHz. */
const TONE = [
  Float32Array.from({ length: 4 * 44100 }, (_, i) => {
    const t = i / 44100;
    return 0.4 * Math.sin(2 * Math.PI * (200 * t + 150 * t * t));
  }),
  Float32Array.from({ length: 4 * 44100 }, (_, i) => {
    const t = i / 44100;
    return (
      0.3 * Math.sin(2 * Math.PI * (1000 * t - 90 * t * t)) * (0.5 + 0.5 * Math.sin(2 * Math.PI * 3 * t))
    );
  }),
];

interface Fixture {
  sampleRate: number;
  channels: number;
  frames: number;
  /** Samples by which the decoded tone lags behind: 0 unless the file hides its encoder's delay. */
  lag: number;
}

const FIXTURES: Record<string, Fixture> = {
  "tone.mp3": { sampleRate: 44100, channels: 2, frames: 176400, lag: 0 },
  "tone_vbr.mp3": { sampleRate: 44100, channels: 2, frames: 176400, lag: 0 },
  "tone_mpeg2.mp3": { sampleRate: 22050, channels: 1, frames: 88200, lag: 0 },
  "tone_noxing.mp3": { sampleRate: 44100, channels: 1, frames: 155 * 1152, lag: 1105 },
  "tone.ogg": { sampleRate: 44100, channels: 2, frames: 176400, lag: 0 },
  "tone.opus": { sampleRate: 48000, channels: 2, frames: 192000, lag: 0 },
};
const SEGMENTS = [
  [0, 0.5],
  [0.01, 0.1],
  [1.2345, 1],
  [2.9999, 0.001],
  [3.1, 0.7],
  [3.9, 1],
];

for (const decoder of ["wasm", "ffmpeg"] as const) {
  const skip = decoder === "ffmpeg" && !findFfmpeg() ? "there is no ffmpeg" : false;
  for (const [name, fixture] of Object.entries(FIXTURES)) {
    const path = goldenPath(name);
    test(`${name} by ${decoder} is the tone that was encoded, in place`, { skip }, async () => {
      const { samples, sampleRate } = await readAudio(path, { decoder });
      assert.equal(samples[0].length, fixture.frames);
      const mono = samples.length === 1 ? [TONE[0].map((x, i) => (x + TONE[1][i]) / 2)] : TONE;
      const tone = resample(mono, 44100, sampleRate);
      for (const [c, channel] of tone.entries()) {
        assert.equal(bestLag(samples[c], channel, fixture.lag, 12), fixture.lag);
        assert.ok(correlation(samples[c], channel, fixture.lag) > 0.98);
      }
    });
    // ffmpeg's own Opus decoder does not converge after a seek: by default Opus is not given to it.
    if (decoder === "ffmpeg" && name === "tone.opus") continue;
    test(`segments of ${name} by ${decoder} equal slices of the whole`, { skip }, async () => {
      const whole = await readAudio(path, { decoder });
      for (const [start, duration] of SEGMENTS) {
        const { samples } = await readAudio(path, { start, duration, decoder });
        const from = Math.floor(start * fixture.sampleRate);
        const slice = whole.samples.map((x) =>
          x.slice(from, from + Math.floor(duration * fixture.sampleRate)),
        );
        assert.ok(maxDifference(samples, slice) < 1e-6, `at ${start} s`);
      }
    });
  }
}

test("what compressed files hold is known exactly without decoding", async () => {
  for (const [name, { sampleRate, channels, frames }] of Object.entries(FIXTURES))
    assert.deepEqual(await audioInfo(goldenPath(name), WASM), {
      sampleRate,
      channels,
      frames,
      duration: frames / sampleRate,
    });
});

test("segments of a FLAC file equal slices of the whole", async () => {
  const path = goldenPath("s16_44100_stereo.flac");
  const whole = await readAudio(path, WASM);
  for (const [start, duration] of [
    [0, 0.01],
    [0.1, 0.3],
    [0.55, 0.1],
    [0.69, 1],
  ]) {
    const { samples } = await readAudio(path, { start, duration, ...WASM });
    const from = Math.floor(start * 44100);
    const slice = whole.samples.map((x) => x.slice(from, from + Math.floor(duration * 44100)));
    assert.equal(maxDifference(samples, slice), 0);
  }
});

const WASM: ReadOptions = { decoder: "wasm" };

function damaged(name: string, change: (bytes: Buffer) => Buffer): string {
  const path = join(folder, `${Math.random()}_${name}`);
  writeFileSync(path, change(readFileSync(goldenPath(name))));
  return path;
}

const half = (bytes: Buffer) => bytes.subarray(0, bytes.length >> 1);
for (const name of ["tone.mp3", "s16_44100_stereo.flac", "tone.ogg", "tone.opus"])
  test(`${name} cut in half is refused as truncated where its end is missing`, async () => {
    await assert.rejects(readAudio(damaged(name, half), WASM), (error) => {
      return error instanceof AudioReadError && /truncated/.test(error.reason);
    });
  });

test("a FLAC file with a flipped bit is refused where the damage is, and read elsewhere", async () => {
  const path = damaged("s16_44100_stereo.flac", (bytes) => {
    bytes[bytes.length - 5000] ^= 8;
    return bytes;
  });
  await assert.rejects(readAudio(path, WASM), AudioReadError);
  assert.equal((await readAudio(path, { duration: 0.1, ...WASM })).samples[0].length, 4410);
});

for (const name of ["tone.mp3", "tone.ogg", "tone.opus", "s16_44100_stereo.flac"])
  test(`the first 200 bytes of ${name} are refused with a read error`, async () => {
    const path = damaged(name, (bytes) => bytes.subarray(0, 200));
    await assert.rejects(readAudio(path, WASM), AudioReadError);
  });

test("a file is read by what it holds, not by its name", async () => {
  const path = damaged("tone.mp3", (bytes) => bytes);
  const renamed = `${path}.wav`;
  writeFileSync(renamed, readFileSync(path));
  assert.equal((await audioInfo(renamed, WASM)).frames, 176400);
});

test("ID3 tags before the music are passed over", async () => {
  const tag = Buffer.concat([
    Buffer.from("ID3"),
    Buffer.from([4, 0, 0, 0, 0, 1, 0]),
    Buffer.alloc(128, 0xff),
  ]);
  const path = damaged("tone_noxing.mp3", (bytes) => Buffer.concat([tag, bytes]));
  assert.equal((await audioInfo(path, WASM)).frames, FIXTURES["tone_noxing.mp3"].frames);
});

test("M4A says that it needs ffmpeg, as a file that cannot be read: others can", async () => {
  const path = join(folder, "song.m4a");
  writeFileSync(path, Buffer.from("\0\0\0\x20ftypM4A \0\0\0\0", "latin1"));
  await assert.rejects(
    readAudio(path, WASM),
    (error) => error instanceof AudioReadError && /needs ffmpeg/.test(error.message),
  );
});

test("FFMPEG_PATH names ffmpeg, none turns it off, and a wrong one is an error", () => {
  assert.equal(findFfmpeg({ FFMPEG_PATH: "none", PATH: process.env.PATH }), undefined);
  assert.equal(findFfmpeg({ FFMPEG_PATH: process.execPath }), process.execPath);
  assert.throws(() => findFfmpeg({ FFMPEG_PATH: join(folder, "no-ffmpeg") }), UserError);
  assert.equal(findFfmpeg({ PATH: folder }), undefined);
});

/** Normalised correlation of `a` delayed by `lag` with `b`, over the middle second. */
function correlation(a: Float32Array, b: Float32Array, lag: number): number {
  const from = b.length >> 2;
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = from; i < from + 20000; i++) {
    ab += a[i + lag] * b[i];
    aa += a[i + lag] ** 2;
    bb += b[i] ** 2;
  }
  return ab / Math.sqrt(aa * bb);
}

function bestLag(a: Float32Array, b: Float32Array, around: number, reach: number): number {
  let best = around - reach;
  for (let lag = around - reach; lag <= around + reach; lag++)
    if (correlation(a, b, lag) > correlation(a, b, best)) best = lag;
  return best;
}
