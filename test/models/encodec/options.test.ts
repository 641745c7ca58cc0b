/**
 * Every norm, pad mode and activation of SEANet, its causal variants and those of trimming, against AudioCraft's modules on PyTorch
 * (test/golden/encodec_options): codes, audio, the training forward and all its gradients.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { buildActivation } from "../../../src/models/encodec/activation.ts";
import { buildEncodec } from "../../../src/models/encodec/config.ts";
import { loadEncodec } from "../../../src/models/encodec/weights.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";
import { assertClose, assertCodes, tolerance } from "./golden.ts";

const file = openSafetensors(
  new URL("../../golden/encodec_options/variants.safetensors", import.meta.url).pathname,
);

function read(name: string): Tensor {
  const shape = [...file.shape(name)];
  if (file.dtype(name) === "I32") return tf.tensor(file.read(name) as Int32Array, shape, "int32");
  return tf.tensor(file.readFloat32(name), shape);
}

function model(name: string, config: Record<string, unknown>) {
  const built = buildEncodec(config, new InitializerStream(0));
  loadEncodec(built, file, { prefix: `${name}.w.` });
  return built;
}

const configs = JSON.parse(file.metadata.configs) as Record<string, Record<string, Record<string, unknown>>>;

for (const [name, config] of Object.entries(configs)) {
  const { causal = false, norm, pad_mode, activation = "ELU" } = config.seanet;

  test(`${name} (${norm}, ${pad_mode}, ${activation}${causal ? ", causal" : ""}): latents, codes and audio`, () => {
    const net = model(name, config);
    net.iterateSpectralNorms(); // as the training forward did before
    const wav = read(`${name}.wav`);
    const latents = read(`${name}.latents`);
    const { codes, scale } = net.encode(wav);
    assertClose(net.encodeLatent(wav), latents, tolerance);
    assertCodes(codes, read(`${name}.codes`), latents, net);
    const volume = file.has(`${name}.scale`) ? read(`${name}.scale`) : null;
    if (volume === null) assert.equal(scale, null);
    else assertClose(scale!, volume, 1e-6);
    assertClose(net.decode(read(`${name}.codes`), volume), read(`${name}.decoded`), tolerance);
  });

  test(`${name}: a training forward and the gradients of all parameters`, () => {
    const net = model(name, config);
    net.iterateSpectralNorms();
    for (const [parameter, variable] of net.namedParameters()) {
      const after = `${name}.after.${parameter}`;
      if (file.has(after)) close(variable.value.dataSync(), file.readFloat32(after), 1e-6);
    }
    const named = net.namedParameters().filter(([, parameter]) => parameter.trainable);
    const step = jit(
      (wav: Tensor, weights: Tensor) => {
        const { loss, aux, gradients } = valueAndGradients(
          () => {
            const volume = net.volume(wav);
            const latents = net.encoder.forward(net.normalized(wav, volume));
            const decoded = tf.transpose(net.decoder.forward(latents), [0, 2, 1]);
            const cut = tf.slice(decoded, [0, 0, 0], wav.shape);
            const y = volume === null ? cut : tf.mul(cut, volume);
            return { loss: tf.sum(tf.mul(y, weights)), aux: { y } };
          },
          named.map(([, parameter]) => parameter),
        );
        return { loss, y: aux.y, gradients: gradients as Tensor[] };
      },
      { name: "step", mode: "graph" },
    );
    const { y, gradients } = step(read(`${name}.wav`), read(`${name}.weights`));
    assertClose(y, read(`${name}.train`), tolerance);
    for (const [i, [parameter]] of named.entries()) {
      const wanted = file.readFloat32(`${name}.grad.${parameter}`);
      const got = gradients[i].dataSync();
      const squared = (value: (j: number) => number) => wanted.reduce((sum, _, j) => sum + value(j) ** 2, 0);
      const error = Math.sqrt(squared((j) => got[j] - wanted[j]));
      const norm = Math.sqrt(squared((j) => wanted[j]));
      assert.ok(
        error <= 1e-4 * norm + 1e-5,
        `gradient of ${parameter} is off by ${error}, its norm is ${norm}`,
      );
    }
  });
}

const activations = JSON.parse(file.metadata.activations) as Record<string, Record<string, unknown>>;

for (const [name, params] of Object.entries(activations)) {
  test(`activation ${name} ${JSON.stringify(params)}: value and slope are PyTorch's`, () => {
    const layer = buildActivation(name, params);
    const x = read("x").reshape([1, -1, 1]);
    close(layer.forward(x).dataSync(), file.readFloat32(`activation.${name}`), 2e-6);
    const slope = tf.grad((v: Tensor) => tf.sum(layer.forward(v)) as never)(x);
    close(slope.dataSync(), file.readFloat32(`slope.${name}`), 2e-6);
  });
}
