/** Batches of every kind of condition: collation, null and half-null samples, the order in which the fuser gets them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ConditioningAttributes,
  collateJointEmbeds,
  collateWavs,
  nullJointEmbed,
  nullWav,
  type WavCondition,
} from "../../../src/data/conditioning.ts";
import {
  type ConditionBatches,
  Conditioner,
  crossBias,
  type PreparedCondition,
} from "../../../src/models/conditioners/base.ts";
import type { ConditionKind } from "../../../src/models/conditioners/dropout.ts";
import {
  ConditioningProvider,
  lossMask,
  nullConditions,
  withoutTexts,
} from "../../../src/models/conditioners/provider.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { TorchGenerator } from "../../../src/random/mt19937.ts";
import { tf } from "../../../src/runtime/index.ts";

const stereo: WavCondition = {
  ...{ wav: Float32Array.of(1, 2, 3, 3, 4, 0), shape: [1, 2, 3], length: 2, sampleRate: 8000 },
  ...{ path: "a.wav", seekTime: 1.5 },
};
const mono: WavCondition = {
  ...{
    wav: Float32Array.of(5, 6),
    shape: [1, 1, 2],
    length: 2,
    sampleRate: 8000,
    path: null,
    seekTime: null,
  },
};

test("waveforms become mono by their mean and are padded to the longest; lengths, paths and times stay their own", () => {
  const conditions = [stereo, mono, nullWav(stereo)];
  assert.deepEqual(collateWavs(conditions), {
    wav: Float32Array.of(2, 3, 1.5, 5, 6, 0, 0, 0, 0),
    shape: [3, 1, 3],
    conditions,
    lengths: [2, 2, 0],
    sampleRates: [8000, 8000, 8000],
    paths: ["a.wav", null, null],
    seekTimes: [1.5, null, null],
  });
});

test("joint embeddings are collated as waveforms, with their texts; a null one has neither", () => {
  const joint = { ...stereo, text: "rock" };
  const { wav, shape, lengths, texts, seekTimes } = collateJointEmbeds([joint, nullJointEmbed(joint)]);
  assert.deepEqual([...wav], [2, 3, 1.5, 0, 0, 0]);
  assert.deepEqual({ shape, lengths, texts }, { shape: [2, 1, 3], lengths: [2, 0], texts: ["rock", null] });
  assert.deepEqual(seekTimes, [1.5, 0]);
});

test("a batch of nulls is one sample long", () => {
  assert.deepEqual(collateWavs([nullWav(stereo), nullWav(mono)]).shape, [2, 1, 1]);
});

test("conditions come by kind, texts before waveforms before joint embeddings, whatever the config's order", () => {
  const { provider, seen } = recording();
  const prepared = provider.prepare([sample()], { training: false });
  assert.deepEqual(Object.keys(prepared), ["genre", "description", "self_wav", "both"]);
  assert.deepEqual(Object.keys(provider.forward(prepared)), Object.keys(prepared));
  assert.deepEqual(Object.keys(provider.conditioners), ["both", "self_wav", "genre", "description"]);
  assert.deepEqual(
    seen.map(([name]) => name),
    ["genre", "description", "self_wav", "both"],
  );
});

test("a sample without an attribute is refused by kind and name, also where only files are read", async () => {
  const { provider } = recording();
  const incomplete = { ...sample(), wav: { other: mono } };
  const error = {
    name: "UserError",
    message: 'conditioners.self_wav: sample 1 of the batch has no wav "self_wav" (it has: other)',
  };
  assert.throws(() => provider.prepare([sample(), incomplete], { training: false }), error);
  await assert.rejects(provider.load([sample(), incomplete]), error);
});

test("what was prepared is freed when a later conditioner fails", () => {
  const { provider } = recording();
  const { both } = provider.conditioners; // the last
  both.prepare = () => {
    throw new Error("no such file");
  };
  const before = tf.memory().numTensors;
  assert.throws(() => provider.prepare([sample()], { training: false }), /no such file/);
  assert.equal(tf.memory().numTensors, before);
});

test("null samples have none of their conditions; samples without texts keep their audio; the given ones stay", () => {
  const given = sample();
  const [none] = nullConditions([given]);
  assert.deepEqual(none, {
    text: { description: null, genre: null },
    wav: { self_wav: nullWav(stereo) },
    joint_embed: { both: nullJointEmbed({ ...stereo, text: null }) },
  });
  const [audio] = withoutTexts([given]);
  assert.deepEqual(audio.text, { description: null, genre: null });
  assert.equal(audio.wav.self_wav, stereo);
  assert.deepEqual(audio.joint_embed, given.joint_embed);
  assert.deepEqual(given, sample());
});

test("draws under a seed are that seed's alone, and leave the random state of training as it was", async () => {
  const drawing = new DrawingConditioner();
  const provider = new ConditioningProvider({ text: drawing });
  const first = await provider.withSeed(5, async () => drawing.draw());
  const expected = new DrawingConditioner();
  assert.equal(drawing.draw(), expected.draw());
  assert.equal(await provider.withSeed(5, async () => drawing.draw()), first);
  assert.notEqual(await provider.withSeed(6, async () => drawing.draw()), first);
  await assert.rejects(
    provider.withSeed(5, async () => {
      drawing.draw();
      throw new Error("stopped");
    }),
    /stopped/,
  );
  assert.equal(drawing.draw(), expected.draw());
});

/** Only its draws are of interest. */
class DrawingConditioner extends Conditioner<"text"> {
  readonly kind = "text";
  protected override readonly generator = new TorchGenerator(1);

  constructor() {
    super(1, 1, new InitializerStream(0));
  }

  draw(): number {
    return this.generator.rand();
  }

  override prepare(): never {
    throw new Error("not called");
  }

  override forward(): never {
    throw new Error("not called");
  }
}

test("the loss counts where every condition lets it, everywhere when none says otherwise", () => {
  const prepared = (mask: number[] | null): PreparedCondition => ({
    ...{ input: tf.zeros([1, 1]), mask: tf.ones([1, 1]), crossBias: crossBias(1) },
    ...(mask && { lossMask: tf.tensor2d([mask]) }),
  });
  assert.equal(lossMask({ a: prepared(null) }), null);
  const both = lossMask({ a: prepared([1, 0, 1]), b: prepared(null), c: prepared([1, 1, 0]) });
  assert.deepEqual([...both!.dataSync()], [1, 0, 0]);
});

class Recorder<Kind extends ConditionKind> extends Conditioner<Kind> {
  readonly kind: Kind;
  private readonly record: (batch: unknown) => void;

  constructor(kind: Kind, record: (batch: unknown) => void) {
    super(1, 2, new InitializerStream(1));
    this.kind = kind;
    this.record = record;
  }

  override prepare(batch: ConditionBatches[Kind]): PreparedCondition {
    this.record(batch);
    return { input: tf.zeros([1, 1, 1]), mask: tf.ones([1, 1]), crossBias: crossBias(1) };
  }

  override forward(prepared: PreparedCondition) {
    return this.project(prepared.input, prepared);
  }
}

function recording() {
  const seen: [string, unknown][] = [];
  const recorder = <Kind extends ConditionKind>(name: string, kind: Kind) =>
    new Recorder(kind, (batch) => seen.push([name, batch]));
  const provider = new ConditioningProvider({
    both: recorder("both", "joint_embed"),
    self_wav: recorder("self_wav", "wav"),
    genre: recorder("genre", "text"),
    description: recorder("description", "text"),
  });
  return { provider, seen };
}

function sample(): ConditioningAttributes {
  return {
    text: { description: "a song", genre: "rock" },
    wav: { self_wav: stereo },
    joint_embed: { both: { ...stereo, text: "rock" } },
  };
}
