/** The example data set's music: balanced, described, and sounding as described. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { describeClip, keyName } from "../../src/data/example/description.ts";
import { meanSquare, peakOf } from "../../src/data/example/effects.ts";
import { renderNote } from "../../src/data/example/instruments.ts";
import { composePart, type Note } from "../../src/data/example/score.ts";
import {
  type ClipSpec,
  clipFrames,
  exampleSpecs,
  INSTRUMENTS,
  type Instrument,
  TEMPOS,
} from "../../src/data/example/specs.ts";
import { synthesizeClip } from "../../src/data/example/synthesize.ts";
import { TorchGenerator } from "../../src/random/mt19937.ts";

const specs = exampleSpecs();
const SCALES = { major: [0, 2, 4, 5, 7, 9, 11], minor: [0, 2, 3, 5, 7, 8, 10] };

test("every instrument plays six patterns at every tempo, once in major and once in minor", () => {
  const cells = new Set(
    specs.flatMap(({ part, tempo }) =>
      part ? [[part.instrument, part.pattern, tempo, part.key.mode].join()] : [],
    ),
  );
  assert.equal(cells.size, 10 * 6 * 3 * 2);
  assert.ok(specs.length >= 320);
});

test("all 24 keys are equally frequent, and half of the pitched clips have drums", () => {
  const pitched = specs.filter((spec) => spec.part);
  const counts = new Map<string, number>();
  for (const spec of pitched) {
    const key = keyName(spec.part!.key);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  assert.equal(counts.size, 24);
  for (const [key, count] of counts) assert.equal(count, pitched.length / 24, key);
  assert.equal(pitched.filter((spec) => spec.groove).length, pitched.length / 2);
});

test("about one clip in ten is for validation, and validation has every instrument, tempo and mode", () => {
  const valid = specs.filter((spec) => spec.split === "valid");
  assert.ok(valid.length > 0.09 * specs.length && valid.length < 0.12 * specs.length);
  assert.equal(new Set(valid.map((spec) => spec.part?.instrument)).size, INSTRUMENTS.length + 1);
  assert.equal(new Set(valid.map((spec) => spec.tempo)).size, 3);
  assert.equal(new Set(valid.map((spec) => spec.part?.key.mode)).size, 3);
});

test("every clip lasts 6 to 8 s and all files together stay below 95 MB", () => {
  for (const spec of specs) {
    const seconds = clipFrames(spec) / spec.sampleRate;
    assert.ok(seconds >= 6 && seconds <= 8, `${spec.id}: ${seconds} s`);
  }
  // MP3 has 64 kbit/s per channel; FLAC saves at least a fifth of this music; a sidecar has about 600 bytes.
  const bytes = specs.reduce((sum, spec) => {
    const pcm = clipFrames(spec) * spec.channels * 2;
    return sum + { wav: pcm, flac: 0.8 * pcm, mp3: (8000 * pcm) / (2 * spec.sampleRate) }[spec.format] + 600;
  }, 0);
  assert.ok(bytes < 95e6, `${bytes} bytes`);
});

test("a description names the tempo, the key and the instrument or groove; nearly all differ", () => {
  const texts = specs.map((spec) => describeClip(spec).description);
  specs.forEach((spec, i) => {
    const words = texts[i];
    assert.ok(words.includes(spec.tempo), words);
    if (spec.part) {
      assert.ok(words.includes(keyName(spec.part.key)), words);
      assert.ok(words.replaceAll("-", " ").includes(spec.part.instrument), words);
    }
    assert.equal(words.includes("drum"), spec.groove !== null, words);
    assert.equal(words.includes("echo"), spec.effect === "echo", words);
  });
  assert.ok(new Set(texts).size >= 0.95 * specs.length);
});

test("sidecars have exactly the keys of AudioCraft's MusicDataset", () => {
  const keys =
    "key artist sample_rate file_extension description keywords duration bpm genre title name instrument moods";
  for (const spec of specs) assert.deepEqual(Object.keys(describeClip(spec)), keys.split(" "));
});

test("the wording of the user's example prompt occurs", () => {
  const texts = specs.map((spec) => describeClip(spec).description);
  assert.ok(
    texts.some((text) => /^slow square-wave \w+( \w+)? in [A-G](-sharp|-flat)? (major|minor)/.test(text)),
  );
});

test("every note belongs to the clip's key", () => {
  for (const spec of specs) {
    const { part } = spec;
    if (!part) continue;
    for (const { pitch } of composePart(spec, part, new TorchGenerator(spec.seed))) {
      const step = (((pitch - part.key.tonic) % 12) + 12) % 12;
      assert.ok(SCALES[part.key.mode].includes(step), `${spec.id}: ${pitch} in ${keyName(part.key)}`);
    }
  }
});

test("the same spec gives the same samples", () => {
  const spec = find("flute", "melody", { groove: "rock" });
  assert.deepEqual(synthesizeClip(spec), synthesizeClip(spec));
});

test("clips are finite, evenly loud, below -3 dBFS, without offset and without long silence", () => {
  const chosen = [...INSTRUMENTS.map((_, i) => specs[i * 36 + ((7 * i) % 36)]), specs[specs.length - 1]];
  for (const spec of chosen) {
    const { samples } = synthesizeClip(spec);
    assert.equal(samples.length, spec.channels);
    for (const channel of samples) {
      const decibels = 10 * Math.log10(meanSquare(channel));
      assert.ok(channel.every(Number.isFinite), spec.id);
      assert.ok(peakOf(channel) <= 10 ** (-3 / 20), `${spec.id} peak ${peakOf(channel)}`);
      assert.ok(decibels > -23 && decibels < -17, `${spec.id} RMS ${decibels} dB`);
      assert.ok(Math.abs(mean(channel)) < 1e-3, `${spec.id} offset ${mean(channel)}`);
      assert.ok(longestSilence(channel, spec.sampleRate) < 1, `${spec.id} is silent too long`);
    }
  }
});

for (const instrument of INSTRUMENTS) {
  test(`the strongest partial of each note is the written pitch: ${instrument}`, () => {
    const spec: ClipSpec = {
      ...find(instrument, "melody", {}),
      groove: null,
      effect: "dry",
      channels: 1,
      sampleRate: 16000,
    };
    const notes = composePart(spec, spec.part!, new TorchGenerator(spec.seed));
    const { samples } = synthesizeClip(spec);
    const heard = notes.map((note) => strongestPitch(samples[0], note, spec));
    const wrong = notes.filter((note, i) => heard[i] !== note.pitch);
    assert.ok(wrong.length <= notes.length / 10, `heard ${heard} for ${notes.map((note) => note.pitch)}`);
  });
}

for (const tempo of TEMPOS) {
  test(`${tempo} pulsing chords pulse in eighth notes of the stated bpm`, () => {
    const spec: ClipSpec = {
      ...find("square wave", "pulsing chords", { tempo }),
      groove: null,
      effect: "dry",
    };
    const { samples, sampleRate } = synthesizeClip(spec);
    const expected = 30 / spec.bpm;
    const found = envelopePeriod(samples[0], sampleRate, 0.12, 0.6);
    assert.ok(Math.abs(found - expected) < 0.03 * expected, `${found} s instead of ${expected} s`);
  });
}

for (const instrument of ["square wave", "triangle wave", "sawtooth wave", "organ"] as const) {
  test(`no aliasing: a high note has no energy between its harmonics: ${instrument}`, () => {
    const sampleRate = 16000;
    const frequency = 1250; // 12.8 samples a cycle: aliases would fall between the harmonics
    const note = { frequency, seconds: 1.2, sampleRate, pad: false, random: new TorchGenerator(1) };
    const sound = renderNote(instrument, note).subarray(3200, 3200 + 12800);
    const harmonic = power(sound, frequency, sampleRate);
    for (let f = 300; f < 8000; f += 50) {
      const distance = Math.abs(f - frequency * Math.round(f / frequency));
      if (distance > 100) assert.ok(power(sound, f, sampleRate) < 1e-5 * harmonic, `${f} Hz`);
    }
  });
}

function find(instrument: Instrument, pattern: string, wanted: Partial<ClipSpec>): ClipSpec {
  const fits = (spec: ClipSpec) =>
    Object.entries(wanted).every(([key, value]) => spec[key as keyof ClipSpec] === value);
  return specs.find(
    (spec) => spec.part?.instrument === instrument && spec.part.pattern === pattern && fits(spec),
  )!;
}

function mean(samples: Float32Array): number {
  return samples.reduce((sum, x) => sum + x, 0) / samples.length;
}

/** Seconds of the longest run of 50 ms windows below -50 dBFS. */
function longestSilence(samples: Float32Array, sampleRate: number): number {
  const size = Math.round(0.05 * sampleRate);
  let run = 0;
  let longest = 0;
  for (let i = 0; i + size <= samples.length; i += size) {
    run = meanSquare(samples.subarray(i, i + size)) < 1e-5 ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest * 0.05;
}

/** The MIDI number from 40 to 96 whose frequency is the strongest in a note. */
function strongestPitch(samples: Float32Array, note: Note, spec: ClipSpec): number {
  const beat = (60 / spec.bpm) * spec.sampleRate;
  const start = Math.round(note.start * beat);
  const sound = samples.subarray(start, start + Math.round(note.length * beat));
  const pitches = Array.from({ length: 57 }, (_, i) => 40 + i);
  const powers = pitches.map((pitch) => power(sound, 440 * 2 ** ((pitch - 69) / 12), spec.sampleRate));
  return pitches[powers.indexOf(Math.max(...powers))];
}

/** Power at one frequency under a Hann window (Goertzel's recursion). */
function power(samples: Float32Array, frequency: number, sampleRate: number): number {
  const twoCos = 2 * Math.cos((2 * Math.PI * frequency) / sampleRate);
  let s1 = 0;
  let s2 = 0;
  for (let i = 0; i < samples.length; i++) {
    const window = 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / samples.length);
    const s = samples[i] * window + twoCos * s1 - s2;
    s2 = s1;
    s1 = s;
  }
  return s1 * s1 + s2 * s2 - twoCos * s1 * s2;
}

/** Period in seconds of the loudness, by the best autocorrelation of its 5 ms envelope within a range of lags. */
function envelopePeriod(
  samples: Float32Array,
  sampleRate: number,
  shortest: number,
  longest: number,
): number {
  const hop = Math.round(0.005 * sampleRate);
  const envelope = Array.from({ length: Math.floor(samples.length / hop) }, (_, i) =>
    Math.sqrt(meanSquare(samples.subarray(i * hop, (i + 1) * hop))),
  );
  const average = envelope.reduce((sum, x) => sum + x, 0) / envelope.length;
  const centred = envelope.map((x) => x - average);
  let best = { lag: 0, value: -1 };
  for (let lag = Math.round(shortest / 0.005); lag <= longest / 0.005; lag++) {
    let sum = 0;
    for (let i = lag; i < centred.length; i++) sum += centred[i] * centred[i - lag];
    const value = sum / (centred.length - lag);
    if (value > best.value * 1.1) best = { lag, value };
  }
  return (best.lag * hop) / sampleRate;
}
