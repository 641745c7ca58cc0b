/** The larger example set: what training hears, and what is kept from it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { describeClip } from "../../src/data/example/description.ts";
import { largeExampleSpecs } from "../../src/data/example/large_set.ts";
import { type ClipSpec, clipFrames, exampleSpecs } from "../../src/data/example/specs.ts";

const specs = largeExampleSpecs();
const train = specs.filter(({ split }) => split === "train");
const valid = specs.filter(({ split }) => split === "valid");

test("4000 clips are for training and 200 held out, under names of their own", () => {
  assert.deepEqual([train.length, valid.length], [4000, 200]);
  assert.equal(new Set(specs.map(({ id }) => id)).size, specs.length);
});

test("no held-out combination of instrument, pattern, direction, key and tempo is in either training set", () => {
  const trained = new Set([...train, ...exampleSpecs()].map(combination));
  for (const spec of valid) assert.ok(!trained.has(combination(spec)));
  assert.ok(valid.every(({ part }) => part !== null));
});

test("no held-out description is one of training's", () => {
  const texts = new Set(train.map((spec) => describeClip(spec).description));
  assert.ok(valid.every((spec) => !texts.has(describeClip(spec).description)));
});

test("every clip lasts 8 s: bars that would go on are cut", () => {
  for (const spec of specs) assert.equal(clipFrames(spec), 8 * spec.sampleRate);
  assert.equal(
    clipFrames({ ...specs[0], cutAt: 100 }),
    Math.round((specs[0].beats * 60 * 16000) / specs[0].bpm),
  );
});

test("keys, tempos and instruments are balanced in training", () => {
  for (const quality of [
    (spec: ClipSpec) => spec.part?.instrument,
    (spec: ClipSpec) => spec.part && `${spec.part.key.tonic} ${spec.part.key.mode}`,
    (spec: ClipSpec) => spec.tempo,
  ]) {
    const counts = new Map<unknown, number>();
    for (const spec of train) if (spec.part) counts.set(quality(spec), (counts.get(quality(spec)) ?? 0) + 1);
    const values = [...counts.values()];
    assert.ok(Math.max(...values) / Math.min(...values) < 1.4, `${values}`);
  }
});

function combination({ part, tempo }: ClipSpec): string {
  return JSON.stringify([part?.instrument, part?.pattern, part?.direction, part?.key, tempo]);
}
