/** Sidecar cleaning, description merging, and the null values of conditions. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ConditioningAttributes,
  nullJointEmbed,
  nullWav,
  type WavCondition,
} from "../../src/data/conditioning.ts";
import { attributeText, cleanMusicInfo, mergeDescription } from "../../src/data/music_info.ts";
import { TorchGenerator } from "../../src/random/mt19937.ts";

const SIDECAR = {
  title: "  Blue ",
  artist: "None",
  key: "A Minor",
  bpm: "120",
  genre: " Rock",
  moods: "Happy, dark calm",
  keywords: ["Loud", "", "None", 3],
  description: "A song.",
  name: 7,
  instrument: "Mix",
};

test("sidecar fields are cleaned as AudioCraft cleans them", () => {
  assert.deepEqual(cleanMusicInfo(SIDECAR), {
    title: "Blue",
    artist: null,
    key: "a minor",
    bpm: 120,
    genre: "rock",
    moods: ["happy", "dark", "calm"],
    keywords: ["loud"],
    description: "A song.",
    name: null,
    instrument: "mix",
  });
});

test("several keys, empty lists and words for a tempo say nothing", () => {
  const info = cleanMusicInfo({ key: "C, G", moods: [], keywords: " , ", bpm: "fast" });
  assert.deepEqual([info.key, info.moods, info.keywords, info.bpm], [null, null, null, null]);
  assert.deepEqual(cleanMusicInfo({ keywords: 1984 }).keywords, ["1984"]);
});

test("attributes become text: lists by spaces, tempo as Python prints floats", () => {
  const info = cleanMusicInfo({ ...SIDECAR, bpm: 99.5 });
  assert.equal(attributeText(info, "moods"), "happy dark calm");
  assert.equal(attributeText(info, "bpm"), "99.5");
  assert.equal(attributeText(cleanMusicInfo(SIDECAR), "bpm"), "120.0");
  assert.equal(attributeText(info, "artist"), null);
});

const info = cleanMusicInfo(SIDECAR);
const always = { mergeTextP: 1, dropDescP: 0, dropOtherP: 1 };

test("without merging configured the description is left alone", () => {
  assert.equal(mergeDescription(info, { ...always, mergeTextP: 0 }, new TorchGenerator(0)), "A song.");
});

test("a merge appends every kept field once, in an order that depends on the seed", () => {
  const orders = new Set<string>();
  for (let seed = 0; seed < 20; seed++) {
    const text = mergeDescription(info, always, new TorchGenerator(seed))!;
    assert.ok(text.startsWith("A song. "));
    const pairs = text.slice("A song. ".length).split(". ").sort();
    assert.deepEqual(pairs, [
      "bpm: 120.0",
      "genre: rock",
      "instrument: mix",
      "key: a minor",
      "keywords: loud",
      "moods: happy, dark, calm",
    ]);
    orders.add(text);
  }
  assert.ok(orders.size > 10);
});

test("drop_other_p is the probability of keeping a field", () => {
  assert.equal(mergeDescription(info, { ...always, dropOtherP: 0 }, new TorchGenerator(0)), "A song.");
});

test("a description that is not merged into still gets its full stop", () => {
  const plain = { ...info, description: "A song" };
  assert.equal(mergeDescription(plain, { ...always, mergeTextP: 1e-9 }, new TorchGenerator(0)), "A song.");
});

test("a dropped description leaves the fields, or nothing", () => {
  const dropped = mergeDescription(info, { ...always, dropDescP: 1 }, new TorchGenerator(0))!;
  assert.ok(!dropped.includes("song") && dropped.includes("genre: rock"));
  const none = { ...always, dropDescP: 1, dropOtherP: 0 };
  assert.equal(mergeDescription(info, none, new TorchGenerator(0)), null);
});

test("fields are merged as often as the probabilities say", () => {
  const options = { mergeTextP: 0.25, dropDescP: 0.5, dropOtherP: 0.5 };
  const random = new TorchGenerator(5);
  const texts = Array.from({ length: 4000 }, () => mergeDescription(info, options, random));
  const share = (has: (text: string | null) => boolean) => texts.filter(has).length / texts.length;
  assert.ok(Math.abs(share((text) => !!text?.includes("genre")) - 0.125) < 0.02);
  assert.ok(Math.abs(share((text) => !text?.includes("A song")) - 0.125) < 0.02);
});

const wav: WavCondition = {
  wav: Float32Array.of(1, 2),
  shape: [1, 1, 2],
  length: 2,
  sampleRate: 32000,
  path: "/p",
  seekTime: 1,
};
const ATTRIBUTES: ConditioningAttributes = {
  text: { description: "x", genre: "y" },
  wav: { self_wav: wav },
  joint_embed: { description: { ...wav, text: "x" } },
};

test("the null waveform is one zero of length 0 from nowhere, at the same rate", () => {
  assert.deepEqual(nullWav(ATTRIBUTES.wav.self_wav), {
    wav: Float32Array.of(0),
    shape: [1, 1, 1],
    length: 0,
    sampleRate: 32000,
    path: null,
    seekTime: null,
  });
});

test("the null joint embedding has no text either", () => {
  const dropped = nullJointEmbed(ATTRIBUTES.joint_embed.description);
  assert.deepEqual([dropped.text, dropped.length, dropped.wav], [null, 0, Float32Array.of(0)]);
});
