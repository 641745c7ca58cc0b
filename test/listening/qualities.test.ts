/** The analysis of `npm run eval` on clips whose notes are known: what it says is what was played. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { largeExampleSpecs } from "../../src/data/example/large_set.ts";
import { synthesizeClip } from "../../src/data/example/synthesize.ts";
import { direction, shareRising } from "../../src/listening/direction.ts";
import { tempo } from "../../src/listening/tempo.ts";
import { tonic } from "../../src/listening/tonic.ts";
import { harmonics, WAVE_SHAPES, WaveShapeJudge } from "../../src/listening/wave_shape.ts";
import {
  chance,
  type Hearing,
  listen,
  type PartSpec,
  QUALITY_NAMES,
  share,
} from "../../src/listening/wishes.ts";

const sampleRate = 16000;
const heldOut = largeExampleSpecs().filter(
  (spec): spec is PartSpec => spec.split === "valid" && spec.part !== null,
);
const few = heldOut.slice(0, 40);
const examples = WAVE_SHAPES.flatMap((shape) =>
  heldOut.filter(({ part }) => part.instrument === shape).slice(10, 18),
);
const judge = new WaveShapeJudge(
  examples.map((spec) => ({
    shape: WAVE_SHAPES.find((shape) => shape === spec.part.instrument)!,
    harmonics: harmonics(synthesizeClip(spec).samples[0], sampleRate),
  })),
);
const hearings = few.map((spec) => listen(synthesizeClip(spec).samples[0], sampleRate, spec, judge));

for (const [name, least] of [
  ["pitchClass", 0.9],
  ["tempo", 0.85],
  ["waveShape", 0.95],
  ["direction", 0.85],
] as const) {
  test(`${name} of synthesized clips, with drums, echo and reverb, is heard in at least ${100 * least} %`, () => {
    const { right, of } = share(hearings, name);
    assert.ok(right / of >= least, `${right} of ${of}`);
  });
}

test("a tonic is that of the notes, not of the description: notes a fourth higher are heard a fourth higher", () => {
  const spec = plain({ pattern: "arpeggio", direction: "rising" });
  const higher = {
    ...spec,
    part: { ...spec.part, key: { ...spec.part.key, tonic: (spec.part.key.tonic + 5) % 12 } },
  };
  const [low, high] = [spec, higher].map((each) =>
    tonic(synthesizeClip(each).samples[0], sampleRate, {
      mode: spec.part.key.mode,
      pattern: "arpeggio",
      bpm: spec.bpm,
    }),
  );
  assert.equal((high - low + 12) % 12, 5);
});

test("the tempo is heard without being told: one pattern at 66, 108 and 156 beats a minute", () => {
  for (const bpm of [66, 108, 156]) {
    const clip = synthesizeClip({ ...plain({ pattern: "pulsing chords", direction: null }), bpm });
    const heard = tempo(clip.samples[0], sampleRate, { pattern: "pulsing chords", drums: false });
    assert.ok(Math.abs(heard / bpm - 1) < 0.02, `${heard} instead of ${bpm}`);
  }
});

test("harmonics have the levels of the wave's Fourier series: 1/9 for a triangle's third, 1/3 for a square's", () => {
  for (const [instrument, decibels] of [
    ["triangle wave", -19.1],
    ["square wave", -9.5],
  ] as const) {
    const clip = synthesizeClip(plain({ instrument }));
    assert.ok(Math.abs(harmonics(clip.samples[0], sampleRate)[1] - decibels) < 2);
    assert.equal(judge.judge(clip.samples[0], sampleRate), instrument);
  }
});

test("silence has neither steps up nor down", () => {
  const silence = new Float32Array(sampleRate);
  assert.equal(shareRising(silence, sampleRate), 0.5);
  assert.equal(direction(silence, sampleRate), "rising-and-falling");
});

test("a description is only asked for what it says: wording 0 leaves the direction out, and a bell has no wave shape", () => {
  const spec = plain({ instrument: "bell" });
  assert.deepEqual(Object.keys(listen(new Float32Array(16000), sampleRate, { ...spec, wording: 0 }, judge)), [
    "pitchClass",
    "tempo",
  ]);
});

test("chance is the share of sounds that match another clip's description", () => {
  const hearing = (heard: number, wanted: number): Hearing => ({
    pitchClass: { heard, wanted, right: heard === wanted },
  });
  const all = [hearing(0, 0), hearing(1, 1), hearing(0, 1)];
  assert.deepEqual(share(all, "pitchClass"), { right: 2, of: 3 });
  // pairs (i, j): only sound 1 (1) with wish 2 (1), and sound 2 (0) with wish 0 (0)
  assert.equal(chance(all, "pitchClass"), 2 / 6);
  assert.equal(QUALITY_NAMES.length, 4);
});

/** A dry clip without drums at 108 beats a minute. */
function plain(part: Partial<PartSpec["part"]>): PartSpec {
  const [spec] = heldOut;
  return {
    ...spec,
    bpm: 108,
    beats: 16,
    groove: null,
    effect: "dry",
    wording: 1,
    part: { ...spec.part, pattern: "arpeggio", direction: "rising", ...part },
  };
}
