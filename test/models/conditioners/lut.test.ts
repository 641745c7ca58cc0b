/** The look-up-table conditioner: null texts, padding, names, training. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LUTConditioner, type LUTConditionerOptions } from "../../../src/models/conditioners/lut.ts";
import { hashTrick } from "../../../src/models/conditioners/lut_tokenizer.ts";
import { InitializerStream, maskedScore } from "../../../src/nn/index.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../../../src/runtime/index.ts";

const evaluation = { training: false };

test("each word's vector is W row(hash of the word) + b", () => {
  const conditioner = lut();
  const { embedding } = conditioner.forward(conditioner.prepare(["rock music"], evaluation));
  const [weight, bias, table] = conditioner.namedParameters().map(([, parameter]) => parameter.read());
  const expected = ["rock", "music"].flatMap((word) =>
    [0, 1].map(
      (out) =>
        bias[out] +
        [0, 1, 2].reduce((sum, k) => sum + weight[out * 3 + k] * table[hashTrick(word, 128) * 3 + k], 0),
    ),
  );
  const values = embedding.dataSync();
  for (const [i, value] of expected.entries()) assert.ok(Math.abs(values[i] - value) < 1e-5);
});

test("null and empty texts are padding, whose mask and embedding are zero in spite of the bias", () => {
  const conditioner = lut({ padIndex: 5 });
  const prepared = conditioner.prepare([null, "rock", ""], evaluation);
  assert.deepEqual([...prepared.input.dataSync()], [5, hashTrick("rock", 128), 5]);
  assert.deepEqual([...prepared.mask.dataSync()], [0, 1, 0]);
  const [none, rock, empty] = conditioner.forward(prepared).embedding.arraySync() as number[][][];
  assert.ok([none, empty].flat(2).every((value) => value === 0));
  assert.ok(rock.flat().every((value) => value !== 0));
});

test("padding to a multiple is hidden from cross-attention, padding to the batch's longest text is not", () => {
  const conditioner = lut({ lengthMultiple: 4 });
  const { input, mask, crossBias } = conditioner.prepare(["rock", "rock music"], evaluation);
  const [rock, music] = ["rock", "music"].map((word) => hashTrick(word, 128));
  assert.deepEqual(input.arraySync(), [
    [rock, 0, 0, 0],
    [rock, music, 0, 0],
  ]);
  assert.deepEqual(mask.arraySync(), [
    [1, 0, 0, 0],
    [1, 1, 0, 0],
  ]);
  assert.deepEqual([...crossBias.dataSync()], [0, 0, maskedScore, maskedScore]);
});

test("state names and their order are AudioCraft's", () => {
  const names = lut()
    .namedParameters()
    .map(([name]) => name);
  assert.deepEqual(names, ["output_proj.weight", "output_proj.bias", "embed.weight"]);
});

test("the table starts as N(0, 1), the same for the same seed", () => {
  const draw = (seed: number) => lut({ nBins: 1000, dim: 100 }, seed).embed.weight.read() as Float32Array;
  const values = draw(3);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  const beyond2 = values.filter((value) => Math.abs(value) > 2).length / values.length;
  assert.ok(Math.abs(mean) < 0.015 && Math.abs(variance - 1) < 0.02 && Math.abs(beyond2 - 0.0455) < 0.004);
  assert.deepEqual(draw(3), values);
  assert.notDeepEqual(draw(4), values);
});

test("a jitted step trains the rows of the words that occur, and no other: not even that of padding", () => {
  const conditioner = lut();
  const prepared = conditioner.prepare(["rock music", null], evaluation);
  const gradient = jit((input: typeof prepared) => {
    const f = () => ({ loss: tf.sum(conditioner.forward(input).embedding) as Tensor, aux: {} });
    return valueAndGradients(f, [conditioner.embed.weight]).gradients[0]!;
  });
  const rows = gradient(prepared).arraySync() as number[][];
  const trained = rows.flatMap((row, bin) => (row.some((value) => value !== 0) ? [bin] : []));
  assert.deepEqual(
    trained,
    ["rock", "music"].map((word) => hashTrick(word, 128)).sort((a, b) => a - b),
  );
});

function lut(options: Partial<LUTConditionerOptions> = {}, seed = 1): LUTConditioner {
  const defaults = { nBins: 128, dim: 3, outputDim: 2, tokenizer: "whitespace" };
  return new LUTConditioner({ ...defaults, ...options }, new InitializerStream(seed));
}
