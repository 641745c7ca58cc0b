/** A picture of a sound: time to the right, mel frequency upwards, level as colour. */
import { deflateSync } from "node:zlib";
import FFT from "fft.js";
import { crc32 } from "../../crc32.ts";
import type { AudioClip } from "./audio.ts";
import { mean } from "./channels.ts";

const WINDOW = 2048;
const MIN_WIDTH = 400;
const MAX_WIDTH = 1200;
const PIXELS_PER_SECOND = 60;
/** Levels from the loudest down to this many dB below it are told apart. */
const RANGE = 80;
const PALETTE_SIZE = 128;

/** A PNG file, 400 to 1200 pixels wide. Its colours are a palette: a third of the bytes. */
export function spectrogramPng(clip: AudioClip, { height = 256 } = {}): Uint8Array {
  const { width, levels } = melLevels(clip, height);
  const top = levels.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const rows = new Uint8Array(height * (1 + width)); // each row begins with its filter, 0
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const value = Math.max(0, 1 + (levels[x * height + (height - 1 - y)] - top) / RANGE);
      rows[y * (1 + width) + 1 + x] = Math.round(value * (PALETTE_SIZE - 1));
    }
  return png(width, height, rows);
}

/** dB per column and mel band, [width, height]. */
function melLevels(
  { samples, sampleRate }: AudioClip,
  height: number,
): { width: number; levels: Float32Array } {
  const signal = samples.length === 1 ? samples[0] : mean(samples);
  const width = Math.round(
    Math.max(MIN_WIDTH, Math.min(MAX_WIDTH, (PIXELS_PER_SECOND * signal.length) / sampleRate)),
  );
  const fft = new FFT(WINDOW);
  const spectrum = fft.createComplexArray();
  const window = Float64Array.from(
    { length: WINDOW },
    (_, i) => Math.sin((Math.PI * (i + 0.5)) / WINDOW) ** 2,
  );
  const frame = new Float64Array(WINDOW);
  const power = new Float64Array(WINDOW / 2 + 1);
  const edges = melEdges(sampleRate, height);
  const levels = new Float32Array(width * height);
  for (let x = 0; x < width; x++) {
    const start = Math.round(((x + 0.5) * signal.length) / width - WINDOW / 2);
    for (let i = 0; i < WINDOW; i++) frame[i] = window[i] * (signal[start + i] ?? 0);
    fft.realTransform(spectrum, frame as never);
    for (let bin = 0; bin <= WINDOW / 2; bin++)
      power[bin] = spectrum[2 * bin] ** 2 + spectrum[2 * bin + 1] ** 2;
    for (let band = 0; band < height; band++)
      levels[x * height + band] = 10 * Math.log10(bandPower(power, edges[band], edges[band + 1]) + 1e-10);
  }
  return { width, levels };
}

/** Borders of the bands in bins, evenly spaced on the mel scale. */
function melEdges(sampleRate: number, bands: number): Float64Array {
  const mel = (hz: number) => 2595 * Math.log10(1 + hz / 700);
  const hertz = (m: number) => 700 * (10 ** (m / 2595) - 1);
  const highest = mel(sampleRate / 2);
  return Float64Array.from(
    { length: bands + 1 },
    (_, i) => (hertz((highest * i) / bands) * WINDOW) / sampleRate,
  );
}

/** Strongest bin between two borders; where they are closer than bins, between the two bins around them. */
function bandPower(power: Float64Array, from: number, to: number): number {
  const first = Math.ceil(from);
  const last = Math.min(Math.floor(to), power.length - 1);
  if (first > last) {
    const middle = (from + to) / 2;
    const below = Math.floor(middle);
    return power[below] + (middle - below) * ((power[below + 1] ?? power[below]) - power[below]);
  }
  let strongest = 0;
  for (let bin = first; bin <= last; bin++) strongest = Math.max(strongest, power[bin]);
  return strongest;
}

/** Of the palette's first to its last. Black, violet, orange, yellow-white. */
const COLOURS = [
  [0, 0, 4],
  [66, 10, 104],
  [147, 38, 103],
  [221, 81, 58],
  [252, 165, 10],
  [252, 255, 164],
];

function colour(value: number): number[] {
  const place = value * (COLOURS.length - 1);
  const index = Math.min(COLOURS.length - 2, Math.floor(place));
  return COLOURS[index].map((low, i) => Math.round(low + (place - index) * (COLOURS[index + 1][i] - low)));
}

/** Rows of places in the palette, each after its filter byte, as a PNG file (ISO 15948). */
function png(width: number, height: number, rows: Uint8Array): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8); // 8 bits, of a palette
  const palette = Array.from({ length: PALETTE_SIZE }, (_, i) => colour(i / (PALETTE_SIZE - 1)));
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    chunk("PLTE", Uint8Array.from(palette.flat())),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", new Uint8Array(0)),
  ]);
}

function chunk(type: string, data: Uint8Array): Buffer {
  const out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length, 0);
  out.write(type, 4, "latin1");
  out.set(data, 8);
  out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length);
  return out;
}
