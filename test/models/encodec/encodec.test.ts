/** EnCodec against AudioCraft's own numbers, in several settings; its two families of weight names; configs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { UserError } from "../../../src/errors.ts";
import { buildActivation } from "../../../src/models/encodec/activation.ts";
import {
  buildEncodec,
  buildHfEncodec,
  encodecOptions,
  hfEncodecOptions,
} from "../../../src/models/encodec/config.ts";
import { EncodecNetwork } from "../../../src/models/encodec/model.ts";
import { hfName, loadEncodec } from "../../../src/models/encodec/weights.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { jit, type Tensor, tf } from "../../../src/runtime/index.ts";
import {
  assertClose,
  assertCodes,
  configOf,
  golden,
  goldenModel,
  goldenWeights,
  tolerance,
  variants,
} from "./golden.ts";

const whole = variants.filter((variant) => variant !== "noskip_lstm0_layers2");

for (const variant of whole) {
  test(`${variant}: latents, codes, decoded audio and volume equal AudioCraft's`, () => {
    const model = goldenModel(variant);
    const wav = golden("wav");
    const codes = golden(`${variant}.codes`);
    const latents = golden(`${variant}.enc`);
    const encoded = model.encode(wav);
    assertClose(model.encodeLatent(wav), latents, tolerance);
    assertCodes(encoded.codes, codes, latents, model);
    const scale = variant === "renorm_reflect" ? golden(`${variant}.scale`) : null;
    if (scale === null) assert.equal(encoded.scale, null);
    else assertClose(encoded.scale!, scale, tolerance);
    const [first] = tf.split(model.decode(codes, scale), 2);
    assertClose(first, golden(`${variant}.decode_first`), tolerance);
  });
}

test("noskip_lstm0_layers2: dilated residual units with convolutional shortcuts encode as AudioCraft's do", () => {
  const options = encodecOptions(configOf("noskip_lstm0_layers2"));
  const model = new EncodecNetwork(options, new InitializerStream(0));
  const encoderOnly = goldenWeights("noskip_lstm0_layers2");
  const decoder = model.namedParameters().filter(([name]) => name.startsWith("decoder."));
  const shapes = new Map(decoder.map(([name, parameter]) => [name, parameter.shape]));
  loadEncodec(model, {
    ...encoderOnly,
    names: [...encoderOnly.names, ...shapes.keys()],
    shape: (name) => shapes.get(name) ?? encoderOnly.shape(name),
    readFloat32: (name) =>
      shapes.has(name)
        ? new Float32Array(shapes.get(name)!.reduce((a, b) => a * b, 1))
        : encoderOnly.readFloat32(name),
  });
  const latents = golden("noskip_lstm0_layers2.enc");
  assertClose(model.encodeLatent(golden("wav")), latents, tolerance);
  assertCodes(model.encode(golden("wav")).codes, golden("noskip_lstm0_layers2.codes"), latents, model);
});

test("jitted in the graph executor, encoding and decoding give what they give op by op", () => {
  const model = goldenModel("renorm_reflect");
  const roundTrip = (mode: "none" | "graph") =>
    jit(
      (wav: Tensor) => {
        const { codes, scale } = model.encode(wav);
        return { codes, latents: model.encodeLatent(wav), wav: model.decode(codes, scale) };
      },
      { mode },
    )(golden("wav"));
  const [eager, graph] = [roundTrip("none"), roundTrip("graph")];
  assert.deepEqual(graph.codes.arraySync(), eager.codes.arraySync());
  assertClose(graph.latents, eager.latents, 1e-6);
  assertClose(graph.wav, eager.wav, 1e-6);
});

test("forward returns as many samples as it got, and encoding with fewer codebooks gives the first of them", () => {
  const model = goldenModel("causal");
  const wav = golden("wav");
  assert.deepEqual(model.forward(wav).shape, wav.shape);
  const [both, one] = [model.encode(wav).codes, model.encode(wav, 1).codes];
  assert.deepEqual(one.arraySync(), tf.slice(both, [0, 0, 0], [2, 1, 13]).arraySync());
  assert.throws(
    () => model.encode(wav, 3),
    (error) => error instanceof UserError && /3 codebooks.*has 2/.test(error.message),
  );
});

for (const parametrized of [false, true]) {
  const style = parametrized ? "parametrizations.weight.original0/1" : "weight_g/weight_v";
  test(`Hugging Face's names (${style}) load the same weights, also under a prefix`, () => {
    const model = buildEncodec(configOf("causal"), new InitializerStream(0));
    const source = goldenWeights("causal", (name) => `audio_encoder.${hfName(name, parametrized)}`);
    const withOthers = { ...source, names: [...source.names, "decoder.lm_heads.0.weight"] };
    loadEncodec(model, withOthers, { prefix: "audio_encoder." });
    assertClose(model.encodeLatent(golden("wav")), golden("causal.enc"), tolerance);
  });
}

test("Hugging Face's names of the parts", () => {
  const name = (ours: string) => hfName(ours, true);
  assert.equal(name("encoder.model.0.conv.conv.bias"), "encoder.layers.0.conv.bias");
  assert.equal(
    name("encoder.model.1.block.3.conv.conv.weight_g"),
    "encoder.layers.1.block.3.conv.parametrizations.weight.original0",
  );
  assert.equal(
    name("decoder.model.3.convtr.convtr.weight_v"),
    "decoder.layers.3.conv.parametrizations.weight.original1",
  );
  assert.equal(name("decoder.model.3.convtr.norm.weight"), "decoder.layers.3.norm.weight");
  assert.equal(name("encoder.model.13.lstm.weight_ih_l1"), "encoder.layers.13.lstm.weight_ih_l1");
  assert.equal(name("quantizer.vq.layers.2._codebook.embed_avg"), "quantizer.layers.2.codebook.embed_avg");
});

test("weights that do not fit are refused by name", () => {
  const model = buildEncodec(configOf("causal"), new InitializerStream(0));
  const source = goldenWeights("causal");
  const cut = { ...source, names: source.names.filter((name) => !name.endsWith("13.lstm.bias_ih_l0")) };
  assert.throws(() => loadEncodec(model, cut), /missing: encoder\.model\.13\.lstm\.bias_ih_l0/);
  assert.throws(() => loadEncodec(model, goldenWeights("norm_none")), UserError);
});

const hf32khz = {
  model_type: "encodec",
  audio_channels: 1,
  chunk_length_s: null,
  codebook_dim: 128,
  codebook_size: 2048,
  hidden_size: 128,
  norm_type: "weight_norm",
  normalize: false,
  num_filters: 64,
  num_lstm_layers: 2,
  num_residual_layers: 1,
  pad_mode: "reflect",
  sampling_rate: 32000,
  target_bandwidths: [2.2],
  upsampling_ratios: [8, 5, 4, 4],
  use_causal_conv: false,
  use_conv_shortcut: false,
};

test("facebook/encodec_32khz: 56,884,674 parameters, 50 frames a second, 4 codebooks of 2048", () => {
  const model = buildHfEncodec(hf32khz, new InitializerStream(0));
  assert.equal(model.parameterCount(), 56_884_674);
  assert.equal(model.frameRate, 50);
  assert.equal(model.totalCodebooks, 4);
  assert.equal(model.cardinality, 2048);
  assert.equal(model.sampleRate, 32000);
});

test("facebook/encodec_24khz is the default of Hugging Face's class: causal, 75 frames a second, 32 codebooks", () => {
  const options = hfEncodecOptions({ model_type: "encodec" });
  assert.equal(options.frameRate, 75);
  assert.equal(options.quantizer.codebooks, 32);
  assert.equal(options.encoder.causal, true);
  assert.equal(options.encoder.trueSkip, false);
  const model = buildHfEncodec({ model_type: "encodec" }, new InitializerStream(0));
  assert.deepEqual(
    [1.5, 3, 6, 12, 24].map((bandwidth) => model.codebooksFor(bandwidth)),
    [2, 4, 8, 16, 32],
  );
  assert.throws(() => model.codebooksFor(2), /bandwidth=2 kbit\/s: this codec has 1\.5, 3, 6, 12, 24/);
});

test("sizes are whole numbers above 0, bandwidths a list; errors name the config's file", () => {
  const init = new InitializerStream(0);
  for (const [changes, message] of [
    [{ hidden_size: -128 }, "hidden_size must be a whole number above 0, not -128."],
    [{ num_filters: 2.5 }, "num_filters must be a whole number above 0, not 2.5."],
    [{ codebook_size: 0 }, "codebook_size must be a whole number above 0, not 0."],
    [{ num_lstm_layers: -1 }, "num_lstm_layers must be a whole number of at least 0, not -1."],
    [{ target_bandwidths: [] }, "target_bandwidths must be a list of one or more numbers above 0, not []."],
    [
      { target_bandwidths: [0.1] },
      "target_bandwidths: 0.1 kbit/s are no number of codebooks of codebook_size=2048 at 50 frames a second.",
    ],
    [{ chunk_length_s: 1, overlap: 1 }, "overlap=1: a number from 0 to below 1 is needed."],
  ] as [object, string][]) {
    const build = () => buildHfEncodec({ ...hf32khz, ...changes }, init, "a/config.json");
    assert.throws(build, { name: "UserError", message: `a/config.json: ${message}` });
  }
  const config = configOf("causal");
  const negative = { ...config, rvq: { ...config.rvq, n_q: -1 } };
  assert.throws(() => buildEncodec(negative, init, "a.th"), {
    name: "UserError",
    message: "a.th: rvq.n_q must be a whole number above 0, not -1.",
  });
});

test("settings that are not built are refused by name", () => {
  const refuse = (build: () => unknown, message: RegExp) =>
    assert.throws(build, (error) => error instanceof UserError && message.test(error.message));
  const changed = (seanet: object, encodec: object = {}) => {
    const config = configOf("causal");
    return encodecOptions({
      ...config,
      encodec: { ...config.encodec, ...encodec },
      seanet: { ...config.seanet, ...seanet },
    });
  };
  refuse(() => hfEncodecOptions({ ...hf32khz, chunk_length_s: 1 }), /overlap must be a number/);
  refuse(() => hfEncodecOptions({ ...hf32khz, norm_type: "none" }), /norm_type=none/);
  refuse(() => hfEncodecOptions({ ...hf32khz, codebook_dim: 64 }), /codebook_dim=64/);
  refuse(() => changed({ norm: "time_layer_norm" }), /time_layer_norm is not built/);
  const disabled = { ...configOf("norm_none"), seanet: { disable_norm_outer_blocks: 7 } };
  refuse(() => buildEncodec(disabled, new InitializerStream(0)), /disable_norm_outer_blocks=7/);
  refuse(() => changed({}, { renormalize: true, causal: true }), /renormalize=true.*causal=false/);
  refuse(() => changed({ norm: "time_group_norm" }), /time_group_norm.*causal/);
  refuse(() => changed({ pad_mode: "zero" }), /pad_mode=zero/);
  refuse(() => changed({ ratios: "8" }), /seanet\.ratios/);
  refuse(() => changed({ norm_params: { momentum: 1 } }), /norm_params\.momentum/);
  refuse(() => changed({}, { quantizer: "no_quant" }), /quantizer=no_quant/);
  refuse(() => changed({}, { sample_rate: "16k" }), /encodec\.sample_rate must be a whole number above 0/);
  refuse(
    () =>
      buildEncodec({ ...configOf("norm_none"), seanet: { activation: "Snake" } }, new InitializerStream(0)),
    /activation=Snake/,
  );
  refuse(
    () => buildActivation("ReLU", { alpha: 1 }),
    /ReLU has no parameter alpha.*~seanet\.activation_params\.alpha/,
  );
});
