/** Condition dropout against decisions and results recorded from the original implementation, exactly. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { UserError } from "../../../src/errors.ts";
import {
  AttributeDropout,
  type AttributeDropoutConfig,
  ClassifierFreeGuidanceDropout,
  CONDITION_KINDS,
  type ConditionKind,
  type Droppable,
  dropConditions,
} from "../../../src/models/conditioners/dropout.ts";

interface Wav {
  wav: { shape: number[]; dtype: string; values: number[][][] };
  length: { shape: number[]; dtype: string; values: number[] };
  sample_rate: number[];
  path: (string | null)[];
  seek_time: (number | null)[];
}
type Sample = Droppable<Wav, string | null>;

const golden = JSON.parse(
  readFileSync(new URL("../../golden/dropout/dropout.json", import.meta.url), "utf8"),
);

const nullify = { wav: (): Wav => golden.nullify_wav, joint_embed: (): string | null => null };

const samples = (): Sample[] => structuredClone(golden.input);
const recorded = (key: string): Sample[] => golden[key];

test("guidance dropout with p = 1 drops every text and wav in training", () => {
  const dropout = new ClassifierFreeGuidanceDropout(1, nullify);
  assert.deepEqual(dropout.apply(samples(), true), recorded("cfg_dropout_p1_train"));
});

test("guidance dropout drops joint embeddings when asked to, and only then", () => {
  const joint = () => [{ text: {}, wav: {}, joint_embed: { description: "rock" } }];
  const nullJoint = { wav: (wav: Wav) => wav, joint_embed: (): string | null => null };
  const kept = (kinds?: readonly ConditionKind[]) =>
    new ClassifierFreeGuidanceDropout<Wav, string | null>(1, nullJoint, { kinds }).apply(joint(), true)[0];
  assert.equal(kept().joint_embed.description, "rock");
  assert.equal(kept(CONDITION_KINDS).joint_embed.description, null);
});

test("guidance dropout does nothing outside training", () => {
  const dropout = new ClassifierFreeGuidanceDropout(1, nullify);
  assert.deepEqual(dropout.apply(samples(), false), recorded("cfg_dropout_p1_eval"));
});

test("attribute dropout drops only the listed attributes", () => {
  const dropout = new AttributeDropout({ text: { genre: 1 }, wav: { self_wav: 1 } }, nullify);
  assert.deepEqual(dropout.apply(samples(), true), recorded("attribute_dropout_genre_wav_p1"));
  assert.deepEqual(dropout.apply(samples(), false), recorded("attribute_dropout_eval"));
});

test("attribute dropout acts outside training when args.active_on_eval says so", () => {
  const dropout = new AttributeDropout({ args: { active_on_eval: true }, text: { genre: 1 } }, nullify);
  assert.deepEqual(dropout.apply(samples(), false), recorded("attribute_dropout_active_on_eval"));
});

test("the samples passed in stay as they are", () => {
  const input = samples();
  new ClassifierFreeGuidanceDropout(1, nullify).apply(input, true);
  new AttributeDropout({ text: { genre: 1 }, wav: { self_wav: 1 } }, nullify).apply(input, true);
  assert.deepEqual(input, samples());
});

test("guidance dropout decides as the original with seed 1234", () => {
  const dropout = new ClassifierFreeGuidanceDropout(0.3, nullify);
  const decisions = golden["cfg_p0.3_decisions_first64"].map(() =>
    Number(dropout.apply(samples(), true)[0].text.description === null),
  );
  assert.deepEqual(decisions, golden["cfg_p0.3_decisions_first64"]);
});

/** For each call: was the description, the genre, the wav dropped? */
function attributeDecisions(dropout: AttributeDropout<Wav, string | null>, calls: number): number[][] {
  return Array.from({ length: calls }, () => {
    const [, { text, wav }] = dropout.apply(samples(), true);
    return [text.description === null, text.genre === null, wav.self_wav.path[0] === null].map(Number);
  });
}
const probabilities: AttributeDropoutConfig = {
  text: { description: 0.4, genre: 0.2 },
  wav: { self_wav: 0.5 },
};
const attributeKey = "attr_p(desc .4, genre .2, wav .5)_decisions_first32";

test("attribute dropout decides as the original with seed 1234, one draw per attribute", () => {
  assert.deepEqual(
    attributeDecisions(new AttributeDropout(probabilities, nullify), 32),
    golden[attributeKey],
  );
});

test("each entry of args consumes one draw, as in the original", () => {
  const dropout = new AttributeDropout({ args: { active_on_eval: false }, text: { genre: 0.5 } }, nullify);
  const stream: number[] = golden.torch_rand_seed1234_first64_one_by_one;
  const decisions = Array.from({ length: 32 }, () => dropout.apply(samples(), true)[1].text.genre === null);
  assert.deepEqual(
    decisions,
    Array.from({ length: 32 }, (_, i) => stream[2 * i + 1] < 0.5),
  );
});

test("a restored state goes on with the same decisions", () => {
  const dropout = new AttributeDropout(probabilities, nullify);
  attributeDecisions(dropout, 10);
  const resumed = new AttributeDropout(probabilities, nullify, 7);
  resumed.restore(JSON.parse(JSON.stringify(dropout.state())));
  assert.deepEqual(attributeDecisions(resumed, 22), golden[attributeKey].slice(10));
});

test("the conditions of chosen kinds can be dropped alone", () => {
  const sample = { text: { description: "x" }, wav: { self_wav: 1 }, joint_embed: { clap: 2 }, id: 7 };
  const zero = { wav: () => 0, joint_embed: () => 0 };
  assert.deepEqual(dropConditions([sample], zero, ["text"]), [{ ...sample, text: { description: null } }]);
  assert.deepEqual(dropConditions([sample], zero, ["joint_embed"]), [
    { ...sample, joint_embed: { clap: 0 } },
  ]);
});

test("impossible probabilities, unknown kinds and missing attributes are user errors that name the key", () => {
  const refuses = (act: () => unknown, message: RegExp) =>
    assert.throws(act, (error) => error instanceof UserError && message.test(error.message));
  refuses(() => new ClassifierFreeGuidanceDropout(1.5, nullify), /training_dropout must be a probability/);
  refuses(
    () => new AttributeDropout({ text: { genre: "often" } }, nullify),
    /attribute_dropout\.text\.genre must be/,
  );
  refuses(
    () => new AttributeDropout({ tekst: { genre: 1 } } as AttributeDropoutConfig, nullify),
    /attribute_dropout\.tekst: unknown kind/,
  );
  const dropout = new AttributeDropout({ text: { mood: 1 } }, nullify);
  refuses(() => dropout.apply(samples(), true), /text\.mood.*they have: description, genre/);
});
