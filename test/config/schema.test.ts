// Validation before anything heavy starts: each mistake names the key, what was expected, and where it was set.
import assert from "node:assert/strict";
import { test } from "node:test";
import { asMusicGenConfig, composeTrainConfig, musicGenSchema } from "../../src/config/index.ts";

const check = (...overrides: string[]) => asMusicGenConfig(composeTrainConfig(overrides));

test("a valid config keeps AudioCraft's names and plain values", () => {
  const config = check("optim.lr=1", "dataset.segment_duration=2.5");
  assert.equal(config.optim.lr, 1);
  assert.equal(config.dataset.segment_duration, 2.5);
  assert.equal(config.optim.adam.betas[1], 0.95);
});

test("a wrong type, a value out of range and a value that is not allowed are all reported at once", () => {
  assert.throws(() => check("optim.lr=abc", "dataset.batch_size=0", "optim.optimizer=sgd"), {
    name: "UserError",
    message:
      /dataset\.batch_size: expected an integer of at least 1, got 0 \(set by override 'dataset\.batch_size=0'\)[\s\S]*optim\.lr: expected a number[\s\S]*optim\.optimizer: expected one of adam, adamw, dadam/,
  });
});

test("a value that must be given is asked for", () => {
  assert.throws(() => check("solver=musicgen/default"), {
    message: /sample_rate: must be given: expected an integer/,
  });
});

test("a key that was added inside a known section but is not known gets a suggestion", () => {
  assert.throws(() => check("+dataset.train.num_sample=3"), {
    message: /dataset\.train\.num_sample: is not a known key; did you mean dataset\.train\.num_samples\?/,
  });
});

test("a new top-level key is let through: interpolations may use it", () => {
  const config = check("+base=2", "optim.epochs=${base}");
  assert.equal(config.optim.epochs, 2);
});

test("every known key of the tiny default has a schema that says what it expects", () => {
  const fields = musicGenSchema.fields ?? {};
  for (const key of Object.keys(composeTrainConfig([]).toObject())) assert.ok(fields[key]?.expects, key);
});
