/** The T5 conditioner against AudioCraft's (test/golden/conditioners), its padding, dropout and training. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { ConditioningProvider } from "../../../src/models/conditioners/provider.ts";
import {
  bucketOf,
  T5Conditioner,
  type T5ConditionerOptions,
  t5HubName,
} from "../../../src/models/conditioners/t5.ts";
import { loadT5Encoder } from "../../../src/models/t5/load.ts";
import { attention, InitializerStream, loadState } from "../../../src/nn/index.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../../../src/runtime/index.ts";

const folder = new URL("../../golden/conditioners/", import.meta.url).pathname;
const golden = openSafetensors(`${folder}cond.safetensors`);
const gradients = openSafetensors(`${folder}finetune.safetensors`);
const encoder = await loadT5Encoder(`${folder}t5`);
const texts = ["slow ambient pad with soft piano", "fast techno", null];

/** The golden batch's ids; those of other texts are the lengths of their words. */
const ids: Record<string, number[]> = {
  [texts[0]!]: [45, 73, 22, 17, 45, 4, 1],
  [texts[1]!]: [115, 12, 1],
};
const seen: string[] = [];
const tokenizer = {
  encodeBatch(batch: readonly string[]) {
    seen.push(...batch);
    const rows = batch.map(
      (text) => ids[text] ?? [...(text === "" ? [] : text.split(" ").map((w) => w.length)), 1],
    );
    const length = Math.max(...rows.map((row) => row.length));
    const pad = (row: number[], value: number) => [...row, ...Array(length - row.length).fill(value)];
    return {
      ids: Int32Array.from(rows.flatMap((row) => pad(row, 0))),
      mask: Float32Array.from(
        rows.flatMap((row) =>
          pad(
            row.map(() => 1),
            0,
          ),
        ),
      ),
      length,
    };
  },
};

test("hidden states, embedding and mask of a long, a short and a null text equal AudioCraft's to 1e-5", () => {
  const conditioner = goldenConditioner();
  const prepared = conditioner.prepare(texts, { training: false });
  const { embedding, mask } = conditioner.forward(prepared);
  close(prepared.input, golden.readFloat32("description.t5_hidden"), 1e-5);
  close(embedding, golden.readFloat32("cond.description"), 1e-5);
  assert.deepEqual([...mask.dataSync()], [...golden.read("cond_mask.description")]);
  close(prepared.crossBias, new Float32Array(7), 0);
});

test("the frozen encoder sees few lengths, each at most 7 tokens or a half longer than it must be", () => {
  const lengths = Array.from({ length: 512 }, (_, i) => i + 1);
  const buckets = lengths.map(bucketOf);
  for (const [i, length] of lengths.entries()) {
    assert.ok(
      buckets[i] >= length && buckets[i] <= Math.max(length + 7, 1.5 * length),
      `${length} -> ${buckets[i]}`,
    );
  }
  assert.equal(new Set(buckets).size, 12);
});

test("padding 7 tokens to 8 leaves the embeddings, and cross-attention over them, as AudioCraft's", () => {
  const plain = goldenConditioner();
  const bucketed = goldenConditioner({ lengthMultiple: 8 });
  const ours = bucketed.forward(bucketed.prepare(texts, { training: false }));
  const theirs = plain.forward(plain.prepare(texts, { training: false }));
  assert.deepEqual(ours.embedding.shape, [3, 8, 64]);
  close(ours.embedding.slice([0, 0, 0], [3, 7, 64]), golden.readFloat32("cond.description"), 1e-5);
  close(ours.embedding.slice([0, 7, 0], [3, 1, 64]), new Float32Array(3 * 64), 0);
  const query = tf.linspace(-1, 1, 3 * 5 * 64).reshape([3, 1, 5, 64]);
  const attend = ({ embedding }: { embedding: Tensor }, bias: Tensor | null) =>
    attention(query, embedding.expandDims(1), embedding.expandDims(1), bias);
  close(attend(ours, ours.crossBias), attend(theirs, null).dataSync(), 1e-5);
  assert.throws(() => close(attend(ours, null), attend(theirs, null).dataSync(), 1e-5), "the bias is needed");
});

test("nothing but the projection is in the state dict, under AudioCraft's names: the frozen T5 is not", () => {
  const provider = new ConditioningProvider({ description: goldenConditioner() });
  assert.deepEqual(
    provider.namedParameters("condition_provider.").map(([name]) => name),
    [
      "condition_provider.conditioners.description.output_proj.weight",
      "condition_provider.conditioners.description.output_proj.bias",
    ],
  );
});

test("a finetuned T5 runs in the step: same embeddings, and transformers' gradients of all its kinds of weights", () => {
  const conditioner = goldenConditioner({ finetune: true });
  const names = gradients.names.filter((name) => name !== "__metadata__");
  const parameters = new Map(conditioner.namedParameters());
  const step = jit((prepared: ReturnType<typeof conditioner.prepare>) => {
    const result = valueAndGradients(
      () => {
        const { embedding } = conditioner.forward(prepared);
        const weights = Float32Array.from({ length: embedding.size }, (_, i) => Math.cos(i));
        const loss = tf.sum(tf.mul(embedding, tf.tensor(weights, embedding.shape))) as Tensor;
        return { loss, aux: { embedding } };
      },
      names.map((name) => parameters.get(name)!),
    );
    return { embedding: result.aux.embedding, gradients: result.gradients as Tensor[] };
  });
  const prepared = conditioner.prepare(texts, { training: true });
  assert.equal(prepared.input.dtype, "int32");
  const result = step(prepared);
  close(result.embedding, golden.readFloat32("cond.description"), 1e-5);
  for (const [i, name] of names.entries())
    closeInNorm(result.gradients[i], gradients.readFloat32(name), 1e-5);
});

test("a finetuned T5 is in the state dict, under AudioCraft's names", () => {
  const provider = new ConditioningProvider({ description: goldenConditioner({ finetune: true }) });
  const names = provider.namedParameters("condition_provider.").map(([name]) => name);
  for (const name of ["t5.shared.weight", "t5.encoder.block.1.layer.1.DenseReluDense.wo.weight"]) {
    assert.ok(names.includes(`condition_provider.conditioners.description.${name}`), name);
  }
});

test("normalize_text keeps the words that carry meaning, before words are dropped", () => {
  const conditioner = goldenConditioner({ normalizeText: true });
  seen.length = 0;
  conditioner.prepare(["The slow Drums, and a piano!", "of the", null], { training: false });
  assert.deepEqual(seen, ["slow drum piano", "", ""]);
});

test("Flan-T5's names of AudioCraft and of the hub mean the same models", () => {
  assert.equal(t5HubName("google/flan-t5-3b"), "google/flan-t5-xl");
  assert.equal(t5HubName("google/flan-t5-11b"), "google/flan-t5-xxl");
  assert.equal(t5HubName("t5-3b"), "t5-3b");
});

test("texts of 2 to 7 tokens share one trace of a step that takes their conditions", () => {
  const conditioner = goldenConditioner({ lengthMultiple: 8 });
  const step = jit(
    (prepared: ReturnType<typeof conditioner.prepare>) => conditioner.forward(prepared).embedding,
  );
  for (const text of ["one", "one two", "one two three", "one two three four five six"]) {
    step(conditioner.prepare([text], { training: false }));
  }
  assert.equal(step.traces, 1);
});

test("the jitted step's gradient of the projection equals finite differences of the masked loss", () => {
  const conditioner = goldenConditioner({ lengthMultiple: 8 });
  const { weight, bias } = conditioner.outputProj;
  const prepared = conditioner.prepare(texts, { training: false });
  const loss = () => tf.sum(tf.square(conditioner.forward(prepared).embedding)) as Tensor;
  const gradient = jit((input: typeof prepared) => {
    const { gradients } = valueAndGradients(
      () => ({ loss: tf.sum(tf.square(conditioner.forward(input).embedding)) as Tensor, aux: {} }),
      [weight, bias!],
    );
    return { weight: gradients[0]!, bias: gradients[1]! };
  });
  const { weight: dWeight, bias: dBias } = gradient(prepared);
  for (const [parameter, derivative] of [
    [weight, dWeight],
    [bias!, dBias],
  ] as const) {
    const values = parameter.read().slice() as Float32Array;
    for (const index of [0, 7, 41]) {
      const at = (delta: number) => {
        parameter.load(values.map((value, i) => (i === index ? value + delta : value)));
        return loss().dataSync()[0];
      };
      const numeric = (at(0.05) - at(-0.05)) / 0.1; // the loss is quadratic: exact but for rounding
      parameter.load(values);
      const exact = derivative.dataSync()[index];
      assert.ok(Math.abs(numeric - exact) <= 2e-3 * Math.max(1, Math.abs(exact)), `${numeric} != ${exact}`);
    }
  }
});

test("word dropout leaves out words in training only, about p of them, and repeats from a saved state", () => {
  const text = Array.from({ length: 400 }, (_, i) => `w${i}`).join(" ");
  const conditioner = goldenConditioner({ wordDropout: 0.3 });
  const kept = (training: boolean) => {
    seen.length = 0;
    tf.dispose(conditioner.prepare([text], { training }) as never);
    return seen[0];
  };
  assert.equal(kept(false), text);
  const state = conditioner.randomState();
  const first = kept(true);
  const words = first.split(" ");
  assert.ok(Math.abs(words.length / 400 - 0.7) < 0.08, `${words.length} of 400 words kept`);
  assert.deepEqual(
    words,
    text.split(" ").filter((word) => words.includes(word)),
    "order is kept",
  );
  assert.notEqual(kept(true), first);
  conditioner.restoreRandomState(state!);
  assert.equal(kept(true), first);
});

test("a text of which all words are dropped is no condition: mask 0, embedding 0", () => {
  const conditioner = goldenConditioner({ wordDropout: 1 });
  const { embedding, mask } = conditioner.forward(conditioner.prepare(["fast techno"], { training: true }));
  assert.deepEqual([...mask.dataSync()], [0]);
  close(embedding, new Float32Array(64), 0);
});

test("preparing leaks no tensors", () => {
  const conditioner = goldenConditioner({ lengthMultiple: 8 });
  const once = () => tf.dispose(conditioner.prepare(texts, { training: true }) as never);
  once();
  const before = tf.memory().numTensors;
  for (let i = 0; i < 5; i++) once();
  assert.equal(tf.memory().numTensors, before);
});

function goldenConditioner(options: Partial<T5ConditionerOptions> = {}): T5Conditioner {
  const conditioner = new T5Conditioner(
    { encoder, tokenizer, outputDim: 64, ...options },
    new InitializerStream(1),
  );
  const prefix = "condition_provider.conditioners.description.output_proj.";
  loadState(conditioner.outputProj, golden, { rename: (name) => prefix + name, ignore: () => true });
  return conditioner;
}

function close(actual: Tensor, expected: ArrayLike<number>, tolerance: number): void {
  const values = actual.dataSync();
  assert.equal(values.length, expected.length);
  for (let i = 0; i < values.length; i++) {
    assert.ok(Math.abs(values[i] - expected[i]) <= tolerance, `[${i}] ${values[i]} != ${expected[i]}`);
  }
}

/** The norm of the difference, relative to that of what is expected. */
function closeInNorm(actual: Tensor, expected: Float32Array, tolerance: number): void {
  const values = actual.dataSync();
  assert.equal(values.length, expected.length);
  const norm = (x: (i: number) => number) => Math.sqrt(expected.reduce((sum, _, i) => sum + x(i) ** 2, 0));
  const error = norm((i) => values[i] - expected[i]) / norm((i) => expected[i]);
  assert.ok(error <= tolerance, `relative error ${error}`);
}
