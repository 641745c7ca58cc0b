/** WAV files: every sample format and header variant, segments, and headers that lie. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import wavefile from "wavefile";
import { AudioReadError } from "../../src/data/audio/audio.ts";
import { audioInfo, readAudio } from "../../src/data/audio/read.ts";
import { writeWav } from "../../src/data/audio/write_wav.ts";
import { golden, goldenPath, maxDifference, scratch } from "./files.ts";

const folder = scratch();
const SIGNAL = [0, 1].map((c) => Float32Array.from({ length: 1000 }, (_, i) => 0.9 * Math.sin(i / (7 + c))));

/** SIGNAL as wavefile writes it; integer formats hold scaled integers. */
function written(bitDepth: string, container: "RIFF" | "RF64" = "RIFF"): string {
  const scale: Record<string, number> = { 8: 128, 16: 2 ** 15, 24: 2 ** 23, 32: 2 ** 31 };
  const factor = scale[bitDepth] ?? 1;
  const samples = SIGNAL.map((channel) =>
    Array.from(channel, (x) => (factor === 1 ? x : Math.round(x * factor) + (bitDepth === "8" ? 128 : 0))),
  );
  const wav = new wavefile.WaveFile();
  wav.fromScratch(2, 44100, bitDepth, samples as unknown as Float64Array, { container });
  const path = join(folder, `${bitDepth}_${container}.wav`);
  writeFileSync(path, wav.toBuffer());
  return path;
}

const PRECISION: Record<string, number> = {
  "8": 2 ** -8,
  "16": 2 ** -16,
  "24": 2 ** -24,
  "32": 1e-7,
  "32f": 0,
  "64": 0,
};
for (const [bitDepth, precision] of Object.entries(PRECISION))
  test(`${bitDepth}-bit samples are read in [-1, 1], to half a step`, async () => {
    const path = written(bitDepth);
    assert.deepEqual(await audioInfo(path), {
      sampleRate: 44100,
      channels: 2,
      frames: 1000,
      duration: 1000 / 44100,
    });
    const { samples } = await readAudio(path);
    assert.ok(maxDifference(samples, SIGNAL) <= precision);
  });

test("an RF64 header gives its sizes in 64 bits", async () => {
  const { samples } = await readAudio(written("16", "RF64"));
  assert.ok(maxDifference(samples, SIGNAL) <= 2 ** -16);
});

/** A WAV file out of parts, for headers that writers of good files do not make. */
function handMade(
  name: string,
  fields: {
    tag?: number;
    subTag?: number;
    bits?: number;
    channels?: number;
    rate?: number;
    dataSize?: number;
    riffSize?: number;
    before?: Buffer;
  },
  data: Buffer,
): string {
  const { tag = 1, subTag, bits = 16, channels = 1, rate = 8000, before = Buffer.alloc(0) } = fields;
  const format = Buffer.alloc(8 + (subTag === undefined ? 16 : 40));
  format.write("fmt ", 0);
  format.writeUInt32LE(format.length - 8, 4);
  format.writeUInt16LE(tag, 8);
  format.writeUInt16LE(channels, 10);
  format.writeUInt32LE(rate, 12);
  format.writeUInt32LE(((rate * channels * bits) / 8) >>> 0, 16);
  format.writeUInt16LE((channels * bits) / 8, 20);
  format.writeUInt16LE(bits, 22);
  if (subTag !== undefined) format.writeUInt16LE(subTag, 32);
  const header = Buffer.alloc(12);
  header.write("RIFF", 0);
  header.writeUInt32LE(fields.riffSize ?? 4 + before.length + format.length + 8 + data.length, 4);
  header.write("WAVE", 8);
  const dataHeader = Buffer.alloc(8);
  dataHeader.write("data", 0);
  dataHeader.writeUInt32LE(fields.dataSize ?? data.length, 4);
  const path = join(folder, name);
  writeFileSync(path, Buffer.concat([header, before, format, dataHeader, data]));
  return path;
}

const PCM = Buffer.from(Int16Array.from({ length: 800 }, (_, i) => 10 * i).buffer);
const EXPECTED = [Float32Array.from({ length: 800 }, (_, i) => (10 * i) / 2 ** 15)];

test("extensible headers tell float samples from integers by their subformat", async () => {
  const floats = Float32Array.of(0.25, -0.5, 0.75);
  const path = handMade("ext.wav", { tag: 0xfffe, subTag: 3, bits: 32 }, Buffer.from(floats.buffer));
  assert.deepEqual((await readAudio(path)).samples, [floats]);
});

test("chunks before the format chunk are passed over, odd sizes with their padding byte", async () => {
  const before = Buffer.concat([Buffer.from("LIST"), Buffer.from([3, 0, 0, 0]), Buffer.from("abc\0")]);
  assert.equal(maxDifference((await readAudio(handMade("list.wav", { before }, PCM))).samples, EXPECTED), 0);
});

test("a data size of 0xFFFFFFFF, as pipes leave it, means all that follows", async () => {
  const path = handMade("piped.wav", { dataSize: 0xffffffff, riffSize: 0xffffffff }, PCM);
  assert.equal(maxDifference((await readAudio(path)).samples, EXPECTED), 0);
});

const BAD: [string, RegExp, () => string][] = [
  [
    "a data chunk shorter than its header says",
    /truncated/,
    () => handMade("short.wav", { dataSize: 99999 }, PCM),
  ],
  ["Microsoft ADPCM", /Microsoft ADPCM/, () => handMade("adpcm.wav", { tag: 2, bits: 4, channels: 2 }, PCM)],
  ["GSM", /GSM 6.10/, () => handMade("gsm.wav", { tag: 49, bits: 8 }, PCM)],
  ["A-law of 16 bits", /A-law samples of 16 bits/, () => handMade("alaw.wav", { tag: 6, bits: 16 }, PCM)],
  ["0 channels", /0 channels/, () => handMade("c0.wav", { channels: 0 }, PCM)],
  ["a rate of 2^31 Hz", /2147483648 Hz/, () => handMade("rate.wav", { rate: 2 ** 31 }, PCM)],
  ["no samples", /no audio/, () => handMade("none.wav", {}, Buffer.alloc(0))],
  ["no data chunk", /no data chunk/, () => cut("nodata.wav", 36)],
  ["a header that ends in the format chunk", /cut off/, () => cut("cut.wav", 26)],
  ["nothing at all", /empty/, () => cut("empty.wav", 0)],
  ["a text file", /no audio format/, () => text("words.wav", "these are only words, not sound")],
  ["a folder", /not a regular file/, () => makeFolder("folder.wav")],
  ["a dangling link", /no such file/, () => dangling("link.wav")],
];

function cut(name: string, length: number): string {
  const whole = readFileSync(handMade(name, {}, PCM));
  writeFileSync(join(folder, name), whole.subarray(0, length));
  return join(folder, name);
}

function text(name: string, content: string): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

function makeFolder(name: string): string {
  mkdirSync(join(folder, name));
  return join(folder, name);
}

function dangling(name: string): string {
  symlinkSync(join(folder, "nowhere"), join(folder, name));
  return join(folder, name);
}

for (const [what, reason, make] of BAD)
  test(`a WAV file with ${what} is refused with the reason and its path`, async () => {
    const path = make();
    await assert.rejects(readAudio(path, { decoder: "wasm" }), (error) => {
      assert.ok(error instanceof AudioReadError);
      assert.equal(error.path, path);
      assert.match(error.reason, reason);
      return true;
    });
  });

const READS = golden("wav_read.safetensors");
for (const name of Object.keys(READS)) {
  const [, file, how] = /^(.*\.(?:wav|flac))\.(.*)$/.exec(name)!;
  test(`${file} read with ${how} equals the peer's samples exactly`, async () => {
    const options = how.startsWith("seek0.2")
      ? { start: 0.2, duration: 0.25 }
      : { start: 0.4, duration: 0.5, pad: true };
    const { samples } = await readAudio(
      goldenPath(file),
      how === "soundfile" ? {} : { ...options, decoder: "wasm" },
    );
    const prefix = file === "s16_44100_stereo.wav";
    assert.equal(maxDifference(samples, READS[name], { prefix }), 0);
  });
}

test("a segment past the end is shorter, or padded with silence on request", async () => {
  const path = handMade("end.wav", {}, PCM);
  const short = await readAudio(path, { start: 0.09, duration: 0.02 });
  assert.equal(maxDifference(short.samples, [EXPECTED[0].subarray(720)]), 0);
  const padded = await readAudio(path, { start: 0.09, duration: 0.02, pad: true });
  assert.equal(padded.samples[0].length, 160);
  assert.ok(padded.samples[0].subarray(80).every((x) => x === 0));
  assert.equal((await readAudio(path, { start: 5, duration: 1 })).samples[0].length, 0);
});

test("written float files read back exactly, 16-bit ones to half a step; wavefile agrees", async () => {
  for (const [format, precision] of [
    ["f32", 0],
    ["s16", 2 ** -16],
  ] as const) {
    const path = join(folder, `written_${format}.wav`);
    writeWav(path, { samples: SIGNAL, sampleRate: 32000 }, { format });
    assert.ok(maxDifference((await readAudio(path)).samples, SIGNAL) <= precision);
    const other = new wavefile.WaveFile(readFileSync(path));
    assert.deepEqual(other.chunkSize, readFileSync(path).length - 8);
    const [left] = other.getSamples(false, Float32Array as never) as unknown as Float32Array[];
    assert.ok(Math.abs(left[5] / (format === "s16" ? 2 ** 15 : 1) - SIGNAL[0][5]) <= precision);
  }
});

test("audio with a NaN is not written, and no half file stays behind", () => {
  const target = join(folder, "nan", "nan.wav");
  assert.throws(
    () => writeWav(target, { samples: [Float32Array.of(0, Number.NaN)], sampleRate: 8000 }),
    /NaN at sample 1/,
  );
  mkdirSync(join(folder, "taken.wav"));
  assert.throws(() => writeWav(join(folder, "taken.wav"), { samples: SIGNAL, sampleRate: 8000 }));
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith(".tmp")),
    [],
  );
});
