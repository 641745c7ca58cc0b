/** The picture of a sound: a PNG that shows a tone where it is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { inflateSync } from "node:zlib";
import { spectrogramPng } from "../../../src/data/audio/spectrogram.ts";

/** Size and colours of a PNG as it is written here: a palette, one IDAT, no filters. */
function decode(png: Buffer): { width: number; height: number; at: (x: number, y: number) => number[] } {
  assert.equal(png.subarray(0, 8).toString("hex"), "89504e470d0a1a0a");
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const chunk = (at: number) => png.subarray(at + 8, at + 8 + png.readUInt32BE(at));
  assert.equal(png.toString("latin1", 37, 41), "PLTE");
  const palette = chunk(33);
  const next = 33 + 12 + palette.length;
  assert.equal(png.toString("latin1", next + 4, next + 8), "IDAT");
  const rows = inflateSync(chunk(next));
  assert.equal(rows.length, height * (1 + width));
  const at = (x: number, y: number) => {
    const colour = rows[y * (1 + width) + 1 + x];
    return [...palette.subarray(3 * colour, 3 * colour + 3)];
  };
  return { width, height, at };
}

test("a high tone after a low one lies above it, and silence is black", () => {
  const rate = 16000;
  const tone = (i: number) => Math.sin((2 * Math.PI * (i < rate ? 400 : 4000) * i) / rate);
  const samples = [Float32Array.from({ length: 3 * rate }, (_, i) => (i < 2 * rate ? 0.5 * tone(i) : 0))];
  const { width, height, at } = decode(Buffer.from(spectrogramPng({ samples, sampleRate: rate })));
  assert.deepEqual([width, height], [400, 256]);
  const brightest = (x: number) => {
    const brightness = Array.from({ length: height }, (_, y) => at(x, y).reduce((a, b) => a + b, 0));
    return brightness.indexOf(Math.max(...brightness));
  };
  // mel(400) = 509, mel(4000) = 2146, mel(8000) = 2840
  assert.ok(Math.abs(brightest(60) - 256 * (1 - 509 / 2840)) < 3, `${brightest(60)}`);
  assert.ok(Math.abs(brightest(200) - 256 * (1 - 2146 / 2840)) < 3, `${brightest(200)}`);
  assert.deepEqual(at(390, 128), [0, 0, 4]);
});

test("the shortest sound has a picture", () => {
  const png = spectrogramPng({ samples: [Float32Array.of(0.1)], sampleRate: 32000 });
  assert.equal(decode(Buffer.from(png)).width, 400);
});
