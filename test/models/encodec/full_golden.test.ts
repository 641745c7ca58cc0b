/**
 * EnCodec against the golden tensors that are too large for the repository: the topology of facebook/encodec_32khz by
 * transformers, and the gradients of an AudioCraft training step. They lie beside the checkout, in ../shared/golden.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { openSafetensors, type WeightsReader } from "../../../src/checkpoint/safetensors.ts";
import { buildEncodec, buildHfEncodec } from "../../../src/models/encodec/config.ts";
import { hfName, loadEncodec } from "../../../src/models/encodec/weights.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";
import { assertClose, assertCodes, tolerance } from "./golden.ts";

const folder = new URL("../../../../shared/golden/", import.meta.url);
const skip = existsSync(folder) ? false : "there is no ../shared/golden";

const open = (path: string) => openSafetensors(new URL(path, folder).pathname);
const json = (path: string) => JSON.parse(readFileSync(new URL(path, folder), "utf8"));

function read(file: WeightsReader, name: string): Tensor {
  const shape = [...file.shape(name)];
  if (file.dtype(name) === "I32") return tf.tensor(file.read(name) as Int32Array, shape, "int32");
  return tf.tensor(file.readFloat32(name), shape);
}

for (const weights of ["model.safetensors", "model_legacy_weight_norm.safetensors"]) {
  test(`the topology of encodec_32khz, ${weights}: whole, batched and odd lengths equal transformers'`, {
    skip,
  }, () => {
    const outputs = open("encodec_32khz_shape/outputs.safetensors");
    const model = buildHfEncodec(json("encodec_32khz_shape/config.json"), new InitializerStream(0));
    loadEncodec(model, open(`encodec_32khz_shape/${weights}`));
    for (const [wavName, suffix] of [
      ["wav", ""],
      ["wav_batch2", "_b2"],
      ["wav_odd", "_odd"],
    ]) {
      const wav = read(outputs, wavName);
      const codes = read(outputs, `codes${suffix}`).squeeze([0]);
      const latents = read(outputs, `encoder_out${suffix}`);
      assertClose(model.encodeLatent(wav), latents, tolerance);
      assertCodes(model.encode(wav).codes, codes, latents, model);
      assertClose(model.decodeLatent(codes), read(outputs, `quantized${suffix}`), tolerance);
      assertClose(model.decode(codes), read(outputs, `decoded${suffix}`), tolerance);
      assertClose(model.forward(wav), read(outputs, `forward${suffix}`), tolerance);
    }
  });
}

test("the names and shapes of the true encodec_32khz are its hub file's", { skip }, () => {
  const model = buildHfEncodec(json("encodec_32khz_shape/true_config/config.json"), new InitializerStream(0));
  const expected = json("encodec_32khz_shape/true_shapes.json").legacy_tensors as [string, number[]][];
  const ours = model.namedParameters().map(([name, { shape }]) => [hfName(name, false), shape]);
  assert.deepEqual(Object.fromEntries(ours), Object.fromEntries(expected));
});

test("a training step: loss, penalty and the gradients of all parameters equal AudioCraft's", {
  skip,
}, () => {
  const { config } = json("audiocraft_encodec/meta.json");
  const model = buildEncodec(config, new InitializerStream(0));
  loadEncodec(model, open("audiocraft_encodec/state_after_step1.safetensors"));
  const outputs = open("audiocraft_encodec/outputs.safetensors");
  const expected = open("audiocraft_encodec/step2_grads.safetensors");
  const named = model.namedParameters().filter(([, parameter]) => parameter.trainable);
  const parameters = named.map(([, parameter]) => parameter);
  const step = jit(
    (wav: Tensor) => {
      const { loss, aux, gradients } = valueAndGradients(() => {
        const latents = model.encoder.forward(tf.transpose(wav, [0, 2, 1]));
        const { quantized, penalty } = model.quantizer.forward(latents);
        const decoded = tf.transpose(model.decoder.forward(quantized), [0, 2, 1]);
        const cut = tf.slice(decoded, [0, 0, 0], wav.shape);
        return { loss: tf.add(tf.mean(tf.abs(tf.sub(cut, wav))), penalty), aux: { penalty } };
      }, parameters);
      return { loss, penalty: aux.penalty, gradients: gradients as Tensor[] };
    },
    { name: "step", mode: "graph" },
  );
  const { loss, penalty, gradients } = step(read(outputs, "wav"));
  close(loss.dataSync(), read(outputs, "step2.loss").dataSync(), 1e-5);
  close(penalty.dataSync(), read(outputs, "step2.penalty").dataSync(), 1e-5);
  assert.deepEqual(named.map(([name]) => name).sort(), [...expected.names].sort());
  for (const [i, [name]] of named.entries()) {
    const wanted = expected.readFloat32(name);
    const got = gradients[i].dataSync();
    const squared = (values: (j: number) => number) => wanted.reduce((sum, _, j) => sum + values(j) ** 2, 0);
    const error = Math.sqrt(squared((j) => got[j] - wanted[j]) / squared((j) => wanted[j]));
    assert.ok(error < 1e-4, `gradient of ${name} is off by ${error} of its norm`);
  }
});
