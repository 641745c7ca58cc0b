/** The pitched instruments: each renders one note to samples around +-1, release included. */
import type { TorchGenerator } from "../../random/mt19937.ts";
import type { Instrument } from "./specs.ts";
import { lookUp, type Shape, sine, wavetable } from "./wavetable.ts";

export interface NoteRequest {
  /** Hz. */
  frequency: number;
  /** Seconds that the note is held; decaying instruments ring on a little after it. */
  seconds: number;
  sampleRate: number;
  /** Softer attack and release, for chord pads. */
  pad: boolean;
  random: TorchGenerator;
}

export function renderNote(instrument: Instrument, note: NoteRequest): Float32Array {
  return VOICES[instrument](note);
}

const VOICES: Record<Instrument, (note: NoteRequest) => Float32Array> = {
  "sine wave": (note) => waveShape("sine", note),
  "square wave": (note) => waveShape("square", note),
  "triangle wave": (note) => waveShape("triangle", note),
  "sawtooth wave": (note) => waveShape("sawtooth", note),
  "plucked string": pluckedString,
  bell,
  "electric piano": electricPiano,
  organ,
  flute,
  marimba,
};

function waveShape(shape: Shape, note: NoteRequest): Float32Array {
  const table = wavetable(shape, note.frequency, note.sampleRate);
  const out = silence(note, note.pad ? 0.25 : 0.04);
  const step = note.frequency / note.sampleRate;
  for (let i = 0; i < out.length; i++) out[i] = lookUp(table, i * step);
  return shapeEnvelope(out, note, {
    attack: note.pad ? 0.2 : 0.008,
    decay: 0.15,
    sustain: note.pad ? 0.85 : 0.65,
  });
}

/** Drawbar organ: a fixed mixture of harmonics with the slow beat of a rotating speaker. */
function organ(note: NoteRequest): Float32Array {
  const table = wavetable("organ", note.frequency, note.sampleRate);
  const out = silence(note, note.pad ? 0.15 : 0.03);
  const step = note.frequency / note.sampleRate;
  for (let i = 0; i < out.length; i++) {
    out[i] = lookUp(table, i * step) * (0.85 + 0.15 * sine((6.2 * i) / note.sampleRate));
  }
  return shapeEnvelope(out, note, { attack: note.pad ? 0.06 : 0.006, decay: 0.02, sustain: 0.95 });
}

/** Sine with two weak harmonics, vibrato that sets in late, and breath noise around the pitch. */
function flute(note: NoteRequest): Float32Array {
  const { frequency, sampleRate, random } = note;
  const out = silence(note, 0.06);
  const breath = bandPass(frequency * 1.5, 1.2, sampleRate);
  const octave = 2 * frequency < 0.45 * sampleRate ? 0.22 : 0;
  const twelfth = 3 * frequency < 0.45 * sampleRate ? 0.08 : 0;
  let phase = 0;
  for (let i = 0; i < out.length; i++) {
    const t = i / sampleRate;
    const vibrato = 0.006 * Math.min(1, t / 0.5) * sine(5.2 * t);
    phase += (frequency * (1 + vibrato)) / sampleRate;
    const noise = breath(2 * random.rand() - 1);
    out[i] = sine(phase) + octave * sine(2 * phase) + twelfth * sine(3 * phase) + 0.22 * noise;
  }
  const attack = note.pad ? 0.15 : Math.min(0.05, 0.35 * note.seconds);
  return shapeEnvelope(out, note, { attack, decay: 0.1, sustain: 0.85 });
}

/** Two-operator FM (Chowning 1973): modulator at 3.5 times the pitch, its index dying before the tone. */
function bell(note: NoteRequest): Float32Array {
  const { frequency, sampleRate } = note;
  const out = silence(note, 0.25);
  const index = fmIndex(1.2, frequency, 3.5 * frequency, sampleRate);
  const loss = decay(note.pad ? 4.5 : 2.2, sampleRate);
  const indexLoss = decay(1.2, sampleRate);
  let level = 1;
  let bend = index / (2 * Math.PI);
  for (let i = 0; i < out.length; i++) {
    const phase = (i * frequency) / sampleRate;
    out[i] = level * sine(1 + phase + bend * sine(3.5 * phase));
    level *= loss;
    bend *= indexLoss;
  }
  return fadeEdges(out, 0.002, 0.22, sampleRate);
}

/** FM at the pitch itself for the body, a short high partial for the struck tine, and a gentle tremolo. */
function electricPiano(note: NoteRequest): Float32Array {
  const { frequency, sampleRate } = note;
  const out = silence(note, note.pad ? 0.3 : 0.12);
  const index = fmIndex(1.3, frequency, frequency, sampleRate);
  const tine = 7 * frequency < 0.4 * sampleRate ? 0.18 : 0;
  const loss = decay(7, sampleRate);
  const indexLoss = decay(1.5, sampleRate);
  const tineLoss = decay(0.25, sampleRate);
  let level = 1;
  let bend = index / (2 * Math.PI);
  let ting = tine;
  for (let i = 0; i < out.length; i++) {
    const phase = (i * frequency) / sampleRate;
    const tremolo = 0.88 + 0.12 * sine((4.5 * i) / sampleRate);
    out[i] = level * tremolo * sine(1 + phase + bend * sine(phase)) + ting * sine(7 * phase);
    level *= loss;
    bend *= indexLoss;
    ting *= tineLoss;
  }
  return fadeEdges(out, 0.004, note.pad ? 0.25 : 0.1, sampleRate);
}

/** Modes of a tuned bar at 1, 3.9 and 9.2 times the pitch, the high ones short, and the mallet's knock. */
function marimba(note: NoteRequest): Float32Array {
  const { frequency, sampleRate, random } = note;
  const ring = 1.1 * (262 / frequency) ** 0.4;
  const modes = [
    { ratio: 1, gain: 1, seconds: ring },
    { ratio: 3.93, gain: 0.35, seconds: ring / 4 },
    { ratio: 9.2, gain: 0.12, seconds: ring / 12 },
  ].filter((mode) => mode.ratio * frequency < 0.45 * sampleRate);
  const out = silence(note, 0.35);
  for (const { ratio, gain, seconds } of modes) {
    const step = (ratio * frequency) / sampleRate;
    const loss = decay(seconds, sampleRate);
    let level = gain;
    for (let i = 0; i < out.length; i++, level *= loss) out[i] += level * sine(i * step);
  }
  const knock = bandPass(900, 1, sampleRate);
  for (let i = 0, n = Math.min(out.length, Math.floor(0.02 * sampleRate)); i < n; i++) {
    out[i] += 0.5 * (1 - i / n) * knock(2 * random.rand() - 1);
  }
  return fadeEdges(out, 0.001, 0.1, sampleRate);
}

/** Karplus-Strong string with Jaffe and Smith's all-pass for the fraction of a sample in the loop (1983). */
function pluckedString(note: NoteRequest): Float32Array {
  const { frequency, sampleRate, random } = note;
  const period = sampleRate / frequency;
  // The loop's low-pass, y = (1 - d) x[n] + d x[n - 1], delays by d samples.
  const damping = Math.min(0.3, 120 / frequency);
  const loss = decay(Math.min(4, 900 / frequency), sampleRate) ** period;
  let whole = Math.floor(period - damping);
  let fraction = period - damping - whole;
  if (fraction < 0.1) {
    whole--;
    fraction++;
  }
  const allPass = (1 - fraction) / (1 + fraction);
  const line = pluck(whole, random);
  const out = silence(note, 0.2);
  let lowPass = 0;
  let allPassIn = 0;
  let allPassOut = 0;
  for (let i = 0, at = 0; i < out.length; i++, at = at + 1 === whole ? 0 : at + 1) {
    const x = line[at];
    out[i] = x;
    const filtered = loss * ((1 - damping) * x + damping * lowPass);
    lowPass = x;
    allPassOut = allPass * (filtered - allPassOut) + allPassIn;
    allPassIn = filtered;
    line[at] = allPassOut;
  }
  return fadeEdges(out, 0.001, 0.12, sampleRate);
}

/**
 * The string's first shape at peak 1: pulled aside at a fifth of its length, which makes the fundamental the strongest,
 * and roughened by noise. It has no mean, which the loop would keep.
 */
function pluck(length: number, random: TorchGenerator): Float64Array {
  const corner = length / 5;
  const shape = Float64Array.from({ length }, (_, i) => {
    const triangle = i < corner ? i / corner : (length - i) / (length - corner);
    return triangle + 0.3 * (2 * random.rand() - 1);
  });
  const mean = shape.reduce((sum, x) => sum + x, 0) / length;
  const peak = shape.reduce((max, x) => Math.max(max, Math.abs(x - mean)), 0);
  return shape.map((x) => (x - mean) / peak);
}

/** Largest modulation index up to `wanted` whose sidebands stay below Nyquist (Carson's rule). */
function fmIndex(wanted: number, carrier: number, modulator: number, sampleRate: number): number {
  return Math.max(0, Math.min(wanted, (0.45 * sampleRate - carrier) / modulator - 1));
}

/** Factor per sample of an exponential that falls by 60 dB in `seconds`. */
export function decay(seconds: number, sampleRate: number): number {
  return Math.exp(-6.9078 / (seconds * sampleRate));
}

/** A two-pole band-pass of 0 dB at its centre (Bristow-Johnson's cookbook), fed one sample after another. */
export function bandPass(centre: number, q: number, sampleRate: number): (x: number) => number {
  const w = (2 * Math.PI * Math.min(centre, 0.45 * sampleRate)) / sampleRate;
  const alpha = Math.sin(w) / (2 * q);
  const b = alpha / (1 + alpha);
  const a1 = (-2 * Math.cos(w)) / (1 + alpha);
  const a2 = (1 - alpha) / (1 + alpha);
  let x1 = 0;
  let x2 = 0;
  let y1 = 0;
  let y2 = 0;
  return (x) => {
    const y = b * (x - x2) - a1 * y1 - a2 * y2;
    x2 = x1;
    x1 = x;
    y2 = y1;
    y1 = y;
    return y;
  };
}

/** Zeros for the held note and what sounds after it. */
function silence(note: NoteRequest, release: number): Float32Array {
  return new Float32Array(Math.ceil((note.seconds + release) * note.sampleRate));
}

/** Attack and decay in seconds to a sustain level, then a release over whatever follows the held time. In place. */
function shapeEnvelope(
  out: Float32Array,
  note: NoteRequest,
  { attack, decay: fall, sustain }: { attack: number; decay: number; sustain: number },
): Float32Array {
  const held = Math.min(out.length, Math.round(note.seconds * note.sampleRate));
  for (let i = 0; i < held; i++) {
    const t = i / note.sampleRate;
    out[i] *= t < attack ? t / attack : sustain + (1 - sustain) * Math.max(0, 1 - (t - attack) / fall);
  }
  const t = note.seconds;
  const last = t < attack ? t / attack : sustain + (1 - sustain) * Math.max(0, 1 - (t - attack) / fall);
  for (let i = held; i < out.length; i++) out[i] *= last * (1 - (i - held) / (out.length - held)) ** 2;
  return out;
}

/** Ramps the first and last seconds, so that a note neither clicks in nor out. In place. */
function fadeEdges(out: Float32Array, fadeIn: number, fadeOut: number, sampleRate: number): Float32Array {
  const head = Math.min(out.length, Math.round(fadeIn * sampleRate));
  const tail = Math.min(out.length, Math.round(fadeOut * sampleRate));
  for (let i = 0; i < head; i++) out[i] *= i / head;
  for (let i = 0; i < tail; i++) out[out.length - 1 - i] *= i / tail;
  return out;
}
