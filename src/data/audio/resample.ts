/**
 * Band-limited resampling by a windowed sinc, the `resample_frac` formula of julius (zeros 24, rolloff 0.945):
 * new/old reduced by their gcd, sr = min(old, new) * rolloff, one kernel per output phase i,
 *   k_i[j] = sinc(t) * cos^2(t / 48),  t = pi * clip((-i/new + j/old) * sr, -24, 24),  each divided by its sum,
 * over input padded by its edge values. The window ends at t = 24 pi, so only the taps inside it are kept.
 */

import { FRAMES_PER_BLOCK, instantiate, type ResampleModule, TAP_MULTIPLE } from "./resample_wasm.ts";
import { floats, type Scratch } from "./scratch.ts";

const ZEROS = 24;
const ROLLOFF = 0.945;
/** Odd rates (as damaged headers claim) need a kernel for each of many phases; this is 64 MB of them. */
const MAX_WEIGHTS = 1 << 24;
/** Output samples computed in one go: what this takes stays in the processor's cache. */
const CHUNK = 1 << 14;

/**
 * Planar samples at `oldRate` -> planar samples at `newRate`, floor(new * length / old) per channel. Equal rates give the input
 * itself; `scratch` gives the memory for the result. Throws RangeError for rates whose ratio is too intricate.
 */
export function resample(
  samples: Float32Array[],
  oldRate: number,
  newRate: number,
  scratch?: Scratch,
): Float32Array[] {
  if (oldRate === newRate) return samples;
  const kernel = polyphaseKernel(oldRate, newRate);
  return samples.map((channel) => apply(channel, kernel, scratch));
}

interface Polyphase {
  old: number;
  new: number;
  width: number;
  taps: number;
  /** [new, taps] */
  weights: Float32Array;
  /** Index of each phase's first tap, relative to the frame's start minus `width`. */
  first: Int32Array;
}

function apply(input: Float32Array, kernel: Polyphase, scratch: Scratch | undefined): Float32Array {
  const { old, new: phases, width, taps } = kernel;
  const out = floats(Math.floor((phases * input.length) / old), scratch);
  const blockFrames = FRAMES_PER_BLOCK * Math.max(1, Math.floor(CHUNK / (FRAMES_PER_BLOCK * phases)));
  const frames = Math.min(blockFrames, FRAMES_PER_BLOCK * Math.ceil(out.length / phases / FRAMES_PER_BLOCK));
  if (frames === 0) return out;
  const machine = prepare(kernel, frames * old + 2 * width + taps, frames * phases);
  for (let done = 0; done < out.length; done += frames * phases) {
    fill(machine.x, input, (done / phases) * old - width);
    machine.run(frames / FRAMES_PER_BLOCK);
    // Samples beyond the end come out of padding; they are computed to keep the inner loop whole.
    out.set(machine.out.subarray(0, out.length - done), done);
  }
  return out;
}

/** `x` becomes the samples of `input` from `start` on, repeated at its edges. */
function fill(x: Float32Array, input: Float32Array, start: number): void {
  const before = Math.min(x.length, Math.max(0, -start));
  const inside = input.subarray(start + before, start + x.length);
  x.fill(input[0], 0, before);
  x.set(inside, before);
  x.fill(input[input.length - 1], before + inside.length);
}

interface Machine {
  x: Float32Array;
  out: Float32Array;
  run(blocks: number): void;
}

let module: ResampleModule | undefined;
/** The kernel whose weights are in the module's memory. */
let loaded: Polyphase | undefined;

/** Lays out the module's memory: first taps, weights, input, output. */
function prepare(kernel: Polyphase, inputs: number, outputs: number): Machine {
  const { old, new: phases, taps, weights, first } = kernel;
  module ??= instantiate();
  const { memory, run } = module;
  const weightsAt = 4 * Math.ceil(phases / 4) * 4;
  const xAt = weightsAt + weights.byteLength;
  const outAt = xAt + 4 * inputs;
  const end = outAt + 4 * outputs;
  if (end > memory.buffer.byteLength) memory.grow(Math.ceil((end - memory.buffer.byteLength) / 65536));
  if (loaded !== kernel) {
    new Int32Array(memory.buffer, 0, phases).set(first.map((tap) => 4 * tap));
    new Float32Array(memory.buffer, weightsAt, weights.length).set(weights);
    loaded = kernel;
  }
  return {
    x: new Float32Array(memory.buffer, xAt, inputs),
    out: new Float32Array(memory.buffer, outAt, outputs),
    run: (blocks) => run(xAt, weightsAt, 0, outAt, blocks, phases, 4 * taps, 4 * old),
  };
}

const kernels = new Map<string, Polyphase>();

function polyphaseKernel(oldRate: number, newRate: number): Polyphase {
  const divisor = gcd(oldRate, newRate);
  const old = oldRate / divisor;
  const phases = newRate / divisor;
  const key = `${old}/${phases}`;
  const cached = kernels.get(key);
  if (cached) return cached;
  const rate = Math.min(old, phases) * ROLLOFF;
  const width = Math.ceil((ZEROS * old) / rate);
  const taps = TAP_MULTIPLE * Math.ceil((2 * width + 1) / TAP_MULTIPLE);
  if (phases * taps > MAX_WEIGHTS)
    throw new RangeError(`resampling from ${oldRate} to ${newRate} Hz: the rates have too little in common`);
  const weights = new Float32Array(phases * taps);
  const first = new Int32Array(phases);
  for (let phase = 0; phase < phases; phase++) {
    // Input position of this output sample, minus the window's half width.
    const start = Math.ceil((old * phase) / phases - (ZEROS * old) / rate);
    first[phase] = start + width;
    const row = new Float32Array(taps);
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) {
      row[tap] = windowedSinc(
        fround(fround(fround(-phase / phases) + fround((start + tap) / old)) * fround(rate)),
      );
      sum += row[tap];
    }
    for (let tap = 0; tap < taps; tap++) weights[phase * taps + tap] = fround(row[tap] / fround(sum));
  }
  const kernel = { old, new: phases, width, taps, weights, first };
  if (kernels.size >= 16) kernels.delete(kernels.keys().next().value as string);
  kernels.set(key, kernel);
  return kernel;
}

const { fround } = Math;

/** The kernel at t (without its factor pi), rounded to float32 at each step as julius does: that shows at 1e-5. */
function windowedSinc(t: number): number {
  if (Math.abs(t) >= ZEROS) return 0;
  const x = fround(t * fround(Math.PI));
  const window = fround(Math.cos(fround(fround(x / ZEROS) / 2)));
  return (x === 0 ? 1 : fround(fround(Math.sin(x)) / x)) * fround(window * window);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
