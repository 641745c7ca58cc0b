/** ONNX models as classifiers and embeddings; skipped where onnxruntime-node is not installed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { softmax } from "../../src/metrics/kl_divergence.ts";
import { OnnxModel, requireOnnxRuntime } from "../../src/metrics/onnx.ts";
import { OnnxClassifier, OnnxEmbeddings, VggishEmbeddings } from "../../src/metrics/onnx_audio.ts";
import { vggishExamples } from "../../src/metrics/vggish.ts";
import { close } from "../close.ts";

const file = (name: string) => new URL(`../golden/onnx/${name}.onnx`, import.meta.url).pathname;

const missing = (() => {
  try {
    requireOnnxRuntime();
    return null;
  } catch (error) {
    return (error as Error).message;
  }
})();
const skip = missing ?? false;

test("without the package, the message says how to install it", {
  skip: !missing && "it is installed",
}, () => {
  assert.match(missing!, /npm install --no-save onnxruntime-node@/);
});

test("embeddings are the output's last axis, of whole windows as the file's input says", {
  skip,
}, async () => {
  const model = new OnnxEmbeddings(await OnnxModel.open(file("embeddings")), { sampleRate: 8, window: null });
  const wav = Float32Array.from({ length: 20 }, (_, i) => i);
  const vectors = await model.embed(wav);
  assert.deepEqual(
    vectors.map((vector) => [...vector]),
    Array.from({ length: 8 }, (_, i) => [4 * i + 1, -1]),
  );
  const short = await model.embed(Float32Array.of(3));
  assert.deepEqual([...short[0]], [3, 3]);
  model.dispose();
});

test("a classifier gives the softmax of the output that was named, of any number of samples", {
  skip,
}, async () => {
  const model = await OnnxModel.open(file("classifier"), "logits");
  const classifier = new OnnxClassifier(model, { sampleRate: 8, length: 2 });
  assert.equal(classifier.maxSamples, 16);
  close(await classifier.classify(Float32Array.of(1, 2, 6)), softmax([6, 3, 1]), 1e-6);
  classifier.dispose();
});

test("files that are missing, damaged or take no samples, and outputs that are not there, are refused", {
  skip,
}, async () => {
  await assert.rejects(OnnxModel.open("/nowhere/model.onnx"), /no such file/);
  await assert.rejects(OnnxModel.open(import.meta.filename), /cannot be opened as an ONNX model/);
  const spectrogram = await OnnxModel.open(file("spectrogram"));
  const settings = { sampleRate: 8, window: null };
  assert.throws(() => new OnnxEmbeddings(spectrogram, settings), /\[1, samples\] .* it takes mel float32/);
  const classifier = await OnnxModel.open(file("classifier"));
  assert.throws(() => new VggishEmbeddings(classifier), /an input \[n, 1, 96, 64\] is needed/);
  await assert.rejects(OnnxModel.open(file("classifier"), "labels"), /no output labels; it has mean, logits/);
});

test("a VGGish without its front end gets the spectrograms of 0.96 s each", { skip }, async () => {
  const model = new VggishEmbeddings(await OnnxModel.open(file("spectrogram")));
  const wav = Float32Array.from({ length: 32000 }, (_, i) => Math.sin(i / 5));
  const found = await model.embed(wav);
  const expected = vggishExamples(wav);
  assert.equal(found.length, 2);
  for (const [i, example] of expected.entries()) close(found[i], example, 1e-6);
  model.dispose();
});
