/** WAV and AIFF beyond the common: G.711, big-endian samples, sizes that writers left open, sizes above 4 GiB, samples that are none. */
import assert from "node:assert/strict";
import { closeSync, openSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { AudioReadError } from "../../../src/data/audio/audio.ts";
import { audioInfo, readAudio } from "../../../src/data/audio/read.ts";
import { scratch } from "../files.ts";

const folder = scratch();

function save(name: string, ...parts: Uint8Array[]): string {
  const path = join(folder, name);
  writeFileSync(path, Buffer.concat(parts));
  return path;
}

const chunk = (id: string, content: Uint8Array, size = content.length) => {
  const header = Buffer.alloc(8);
  header.write(id, 0, "latin1");
  header.writeUInt32LE(size, 4);
  return Buffer.concat([header, content]);
};

function format(tag: number, bits: number, channels = 1): Buffer {
  const fields = Buffer.alloc(16);
  fields.writeUInt16LE(tag, 0);
  fields.writeUInt16LE(channels, 2);
  fields.writeUInt32LE(8000, 4);
  fields.writeUInt32LE((8000 * channels * bits) / 8, 8);
  fields.writeUInt16LE((channels * bits) / 8, 12);
  fields.writeUInt16LE(bits, 14);
  return chunk("fmt ", fields);
}

function riff(...chunks: Buffer[]): Buffer {
  return chunk("RIFF", Buffer.concat([Buffer.from("WAVE"), ...chunks]));
}

const PCM = new Uint8Array(Int16Array.of(100, -200, 300, -400).buffer);
const EXPECTED = [Float32Array.from([100, -200, 300, -400], (x) => x / 2 ** 15)];

// Values of ITU-T G.711's tables, on the scale of 16 bits.
const G711: [string, number, number[], number[]][] = [
  ["A-law", 6, [0x00, 0x55, 0xd5, 0xaa, 0x2a], [-5504, -8, 8, 32256, -32256]],
  ["mu-law", 7, [0x00, 0x7f, 0xff, 0x80, 0x01], [-32124, 0, 0, 32124, -31100]],
];
for (const [name, tag, bytes, values] of G711)
  test(`${name} has the values of its table`, async () => {
    const path = save(`${name}.wav`, riff(format(tag, 8), chunk("data", Uint8Array.from(bytes))));
    const { samples } = await readAudio(path);
    assert.deepEqual(
      Array.from(samples[0], (x) => x * 2 ** 15 + 0),
      values,
    );
  });

test("a data chunk of size 0 in a file that was never finished means all that follows", async () => {
  const path = save("crash.wav", Buffer.from("RIFF\0\0\0\0WAVE"), format(1, 16), chunk("data", PCM, 0));
  assert.deepEqual((await readAudio(path)).samples, EXPECTED);
});

test("a data chunk of size 0 in a finished file is empty, whatever follows", async () => {
  const path = save("void.wav", riff(format(1, 16), chunk("data", new Uint8Array(0)), chunk("LIST", PCM)));
  await assert.rejects(readAudio(path), /no audio/);
});

test("chunks after the samples are none of them", async () => {
  const path = save("list.wav", riff(format(1, 16), chunk("data", PCM), chunk("LIST", PCM)));
  assert.deepEqual((await readAudio(path)).samples, EXPECTED);
});

test("a chunk of odd size may lack its padding byte", async () => {
  const path = save("odd.wav", riff(format(1, 16), chunk("junk", Buffer.from("abc")), chunk("data", PCM)));
  assert.deepEqual((await readAudio(path)).samples, EXPECTED);
});

test("millions of empty chunks are refused without reading them all", async () => {
  const path = save("zeros.wav", riff(format(1, 16)), new Uint8Array(1 << 20));
  await assert.rejects(readAudio(path), /chunks make no sense/);
});

test("RF64 files above 4 GiB are read at their end", async () => {
  const data = 5 * 2 ** 30;
  const sizes = Buffer.alloc(28);
  sizes.writeBigUInt64LE(BigInt(data), 8);
  const start = Buffer.concat([
    Buffer.from("RF64\xff\xff\xff\xffWAVE", "latin1"),
    chunk("ds64", sizes),
    format(1, 16),
    chunk("data", new Uint8Array(0), 0xffffffff),
  ]);
  // Sparse: it takes no space.
  const path = save("large.wav", start);
  truncateSync(path, start.length + data);
  const file = openSync(path, "r+");
  writeSync(file, PCM, 0, PCM.length, start.length + data - PCM.length);
  closeSync(file);
  const { frames, sampleRate } = await audioInfo(path);
  assert.equal(frames, data / 2);
  assert.deepEqual((await readAudio(path, { start: (frames - 4) / sampleRate })).samples, EXPECTED);
});

for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
  test(`a segment with ${bad} among its samples is refused, others of the file are not`, async () => {
    const values = new Float32Array(800);
    values[700] = bad;
    const path = save(`${bad}.wav`, riff(format(3, 32), chunk("data", new Uint8Array(values.buffer))));
    await assert.rejects(
      readAudio(path),
      (error) => error instanceof AudioReadError && /NaN/.test(error.reason),
    );
    assert.equal((await readAudio(path, { duration: 0.05 })).samples[0].length, 400);
  });

interface Aiff {
  type?: string;
  bits: number;
  frames?: number;
  soundFirst?: boolean;
  rate?: Uint8Array;
}

/** 8000 Hz as an 80-bit number. */
const RATE = Uint8Array.of(0x40, 0x0b, 0xfa, 0, 0, 0, 0, 0, 0, 0);

/** A stereo AIFF file of 3 frames (or so many as it claims), AIFF-C if it has a compression type. */
function aiff(name: string, samples: Buffer, options: Aiff): string {
  const { type, bits, frames = 3, soundFirst, rate = RATE } = options;
  const big = (id: string, content: Uint8Array) => {
    const whole = chunk(id, content);
    whole.writeUInt32BE(content.length, 4);
    return whole;
  };
  const fields = Buffer.alloc(8);
  fields.writeInt16BE(2, 0);
  fields.writeUInt32BE(frames, 2);
  fields.writeInt16BE(bits, 6);
  const common = big("COMM", Buffer.concat([fields, rate, Buffer.from(type ? `${type}\0\0` : "")]));
  const sound = big("SSND", Buffer.concat([Buffer.alloc(8), samples]));
  const content = soundFirst ? [sound, common] : [common, sound];
  return save(name, big("FORM", Buffer.concat([Buffer.from(type ? "AIFC" : "AIFF"), ...content])));
}

const VALUES = [0.5, -0.25, 0.125, 0, -0.5, 0.75];
const bytes = (size: number, write: (buffer: Buffer, value: number, at: number) => void) => {
  const buffer = Buffer.alloc(6 * size);
  for (const [i, value] of VALUES.entries()) write(buffer, value, i * size);
  return buffer;
};
const AIFF: [string, Buffer, Aiff][] = [
  ["8-bit", bytes(1, (b, x, at) => b.writeInt8(x * 128, at)), { bits: 8 }],
  ["16-bit", bytes(2, (b, x, at) => b.writeInt16BE(x * 2 ** 15, at)), { bits: 16 }],
  ["12 in 16 bits", bytes(2, (b, x, at) => b.writeInt16BE(x * 2 ** 15, at)), { bits: 12 }],
  ["24-bit", bytes(3, (b, x, at) => b.writeIntBE(x * 2 ** 23, at, 3)), { bits: 24 }],
  ["32-bit", bytes(4, (b, x, at) => b.writeInt32BE(x * 2 ** 31, at)), { bits: 32, soundFirst: true }],
  ["little-endian", bytes(2, (b, x, at) => b.writeInt16LE(x * 2 ** 15, at)), { bits: 16, type: "sowt" }],
  ["float", bytes(4, (b, x, at) => b.writeFloatBE(x, at)), { bits: 32, type: "fl32" }],
  ["double", bytes(8, (b, x, at) => b.writeDoubleBE(x, at)), { bits: 64, type: "FL64" }],
];
for (const [what, samples, options] of AIFF)
  test(`AIFF with ${what} samples is read exactly, from any frame on`, async () => {
    const path = aiff(`${what}.aif`, samples, options);
    const whole = await readAudio(path);
    assert.deepEqual(
      [whole.sampleRate, ...whole.samples.map((x) => [...x])],
      [8000, [0.5, 0.125, -0.5], [-0.25, 0, 0.75]],
    );
    assert.deepEqual(
      (await readAudio(path, { start: 2 / 8000 })).samples.map((x) => [...x]),
      [[-0.5], [0.75]],
    );
  });

const SIXTEEN = AIFF[1][1];
const REFUSED: [string, RegExp, string, Aiff][] = [
  ["more frames in its header than in the file", /truncated/, "short", { bits: 16, frames: 30 }],
  ["compression", /compression "ima4"/, "ima", { bits: 16, type: "ima4" }],
  ["samples of 0 bits", /0 bits/, "bits", { bits: 0 }],
  ["a rate of 0 Hz", /sample rate of 0/, "rate", { bits: 16, rate: new Uint8Array(10) }],
];
for (const [what, reason, name, options] of REFUSED)
  test(`AIFF with ${what} is refused with the reason`, async () => {
    await assert.rejects(readAudio(aiff(`${name}.aif`, SIXTEEN, options)), (error) => {
      return error instanceof AudioReadError && reason.test(error.reason);
    });
  });
