/** Plays a clip: composes its notes, renders them with its instrument, mixes drums in, adds effects, levels. */
import { TorchGenerator } from "../../random/mt19937.ts";
import { renderStroke } from "./drums.ts";
import { addEcho, addReverb, fadeOut, level, meanSquare, peakOf, removeOffset, scale } from "./effects.ts";
import { renderNote } from "./instruments.ts";
import { composeDrums, composePart } from "./score.ts";
import { type ClipSpec, clipFrames } from "./specs.ts";

/** In stereo, successive notes stand this far left and right (0 = centre, 1 = one side only). */
const STEREO_WIDTH = 0.45;

/**
 * The clip as one Float32Array per channel, `clipFrames(spec)` long, within +-1.
 * The same spec gives the same samples.
 */
export function synthesizeClip(spec: ClipSpec): { samples: Float32Array[]; sampleRate: number } {
  const random = new TorchGenerator(spec.seed);
  const { sampleRate } = spec;
  const channels = renderPart(spec, random);
  const drums = renderDrums(spec, random);
  channels.forEach((samples, c) => {
    mixInto(samples, drums, 0, 1);
    if (spec.effect === "echo") addEcho(samples, (0.75 * 60) / spec.bpm, sampleRate);
    if (spec.effect === "reverb") addReverb(samples, sampleRate, 1 + 0.07 * c);
    removeOffset(samples, sampleRate);
    fadeOut(samples, 0.03, sampleRate);
  });
  const softness = random.rand();
  level(channels, -3, -18 - 2 * softness);
  return { samples: channels, sampleRate };
}

/** The pitched part at a fixed loudness (RMS 0.12), or zeros when there is none. */
function renderPart(spec: ClipSpec, random: TorchGenerator): Float32Array[] {
  const { part, sampleRate } = spec;
  const secondsPerBeat = 60 / spec.bpm;
  const channels = Array.from({ length: spec.channels }, () => new Float32Array(clipFrames(spec)));
  if (!part) return channels;
  composePart(spec, part, random).forEach((note, i) => {
    const sound = renderNote(part.instrument, {
      frequency: 440 * 2 ** ((note.pitch - 69) / 12),
      seconds: note.length * secondsPerBeat,
      sampleRate,
      pad: part.pattern === "chord pad",
      random,
    });
    const side = i % 2 === 0 ? STEREO_WIDTH : -STEREO_WIDTH;
    channels.forEach((samples, c) => {
      const pan = spec.channels === 1 ? 1 : 1 + (c === 0 ? side : -side);
      mixInto(samples, sound, note.start * secondsPerBeat * sampleRate, note.velocity * pan);
    });
  });
  const power = channels.reduce((sum, samples) => sum + meanSquare(samples), 0) / channels.length;
  for (const samples of channels) scale(samples, 0.12 / Math.sqrt(power + 1e-12));
  return channels;
}

/** The drums, in the centre; zeros when there are none. */
function renderDrums(spec: ClipSpec, random: TorchGenerator): Float32Array {
  const out = new Float32Array(clipFrames(spec));
  if (!spec.groove) return out;
  const gains = { kick: 0.5, snare: 0.32, hat: 0.2 };
  for (const { drum, start, velocity } of composeDrums(spec.groove, spec.beats)) {
    const sound = renderStroke(drum, spec.sampleRate, random);
    const gain = (gains[drum] * velocity) / (peakOf(sound) + 1e-9);
    mixInto(out, sound, (start * 60 * spec.sampleRate) / spec.bpm, gain);
  }
  return out;
}

/** Adds a sound from a frame on; what reaches past the end is dropped. */
function mixInto(track: Float32Array, sound: Float32Array, frame: number, gain: number): void {
  const start = Math.round(frame);
  const count = Math.min(sound.length, track.length - start);
  for (let i = 0; i < count; i++) track[start + i] += gain * sound[i];
}
