/** Coding in pieces: put together, the pieces are what the whole gives. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { InterleaveStereoCompressionModel, type StreamingDecoder } from "../../../src/models/compression.ts";
import { EncodecCompressionModel } from "../../../src/models/encodec/compression.ts";
import { buildEncodec, buildHfEncodec, type Section } from "../../../src/models/encodec/config.ts";
import type { EncodecNetwork } from "../../../src/models/encodec/model.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { type Tensor, tf } from "../../../src/runtime/index.ts";
import { assertClose, goldenModel } from "./golden.ts";

const tolerance = 1e-5;
const hop = 20;

/** A small model, 100 frames a second, with codebooks of random vectors. */
function build(seanet: Section, renormalize = false): EncodecNetwork {
  const causal = seanet.causal === true;
  const encodec = {
    autoencoder: "seanet",
    quantizer: "rvq",
    sample_rate: 2000,
    channels: 1,
    causal,
    renormalize,
  };
  const shared = { n_filters: 2, dimension: 4, ratios: [5, 4], n_residual_layers: 1, lstm: 1 };
  const rvq = { n_q: 3, bins: 16, kmeans_init: false };
  const model = buildEncodec({ encodec, seanet: { ...shared, ...seanet }, rvq }, new InitializerStream(1));
  for (let i = 0; i < 5; i++) model.iterateSpectralNorms();
  // louder than PyTorch's start, so that an error at a seam is seen
  for (const [name, parameter] of model.namedParameters()) {
    if (/\.weight(_g|_hh_l\d|_ih_l\d)?$/.test(name)) parameter.assign(tf.mul(parameter.value, 1.6));
  }
  return model;
}

const settings: Record<string, Section> = {
  "zero padding": { pad_mode: "constant", norm: "weight_norm" },
  "reflection, two LSTM layers": { pad_mode: "reflect", lstm: 2, norm: "weight_norm" },
  replication: { pad_mode: "replicate" },
  "circular padding": { pad_mode: "circular" },
  causal: { causal: true, pad_mode: "reflect" },
  "causal, trimmed at both ends": { causal: true, pad_mode: "constant", decoder: { trim_right_ratio: 0.4 } },
  "causal, replicated": { causal: true, pad_mode: "replicate", decoder: { trim_right_ratio: 0 } },
  "dilation and convolutional shortcuts": {
    n_residual_layers: 3,
    true_skip: false,
    lstm: 0,
    pad_mode: "reflect",
  },
  "spectral norm": { norm: "spectral_norm", pad_mode: "constant" },
  "norm over channels": { norm: "layer_norm", n_filters: 6, disable_norm_outer_blocks: 1 },
  "norm over time": { norm: "time_group_norm", pad_mode: "constant" },
  "odd ratios and kernels": { ratios: [5, 3], kernel_size: 6, last_kernel_size: 5, residual_kernel_size: 5 },
  "a final activation": {
    decoder: { final_activation: "Tanh" },
    activation: "LeakyReLU",
    activation_params: {},
  },
};

for (const [name, seanet] of Object.entries(settings)) {
  test(`${name}: encoder and decoder fed in pieces of any size give what they give for the whole`, () => {
    const model = build(seanet);
    const wav = tf.randomNormal([2, 613, 1], 0, 1, "float32", 3);
    const latents = model.encoder.forward(wav);
    const peak = tf.max(tf.abs(latents)).dataSync()[0];
    const rounding = tolerance * Math.max(1, peak);
    assertClose(inPieces(model.encoder.stream(), wav, [1, 7, 200, 19, 3]), latents, rounding);
    const input = tf.mul(latents, 2);
    const decoded = model.decoder.forward(input);
    assert.ok(tf.max(tf.abs(decoded)).dataSync()[0] > 0.01, "the audio is not silent");
    assertClose(inPieces(model.decoder.stream(), input, [1, 2, 1, 9, 1]), decoded, rounding);
    for (const length of [1, 2, 5]) {
      const short = tf.slice(input, [0, 0, 0], [2, length, 4]);
      if (seanet.pad_mode === "circular") continue;
      assertClose(inPieces(model.decoder.stream(), short, [1]), model.decoder.forward(short), tolerance);
    }
  });
}

/** Feeds x [B, T, C] in pieces of the given sizes, over and over. */
function inPieces(
  stream: ReturnType<EncodecNetwork["encoder"]["stream"]>,
  x: Tensor,
  sizes: number[],
): Tensor {
  const length = x.shape[1]!;
  const pieces: Tensor[] = [];
  for (let at = 0, i = 0; at < length; i++) {
    const size = Math.min(sizes[i % sizes.length], length - at);
    const piece = stream.push(tf.slice(x, [0, at, 0], [-1, size, -1]), false);
    if (piece !== null) pieces.push(piece);
    at += size;
  }
  const rest = stream.push(null, true);
  if (rest !== null) pieces.push(rest);
  stream.dispose();
  return tf.concat(pieces, 1);
}

/** Pushes codes [B, K, T] in pieces of the given sizes; per row and channel all samples, and how many came before the flush. */
function decodeInPieces(decoder: StreamingDecoder, codes: Tensor, sizes: number[]) {
  const frames = codes.shape[2]!;
  const parts: Float32Array[][][] = [];
  for (let at = 0, i = 0; at < frames; i++) {
    const size = Math.min(sizes[i % sizes.length], frames - at);
    parts.push(decoder.push(tf.slice(codes, [0, 0, at], [-1, -1, size])));
    at += size;
  }
  const early = parts.reduce((sum, part) => sum + part[0][0].length, 0);
  parts.push(decoder.flush());
  const rows = parts[0].map((row, b) =>
    row.map((_, c) => Float32Array.from(parts.flatMap((part) => [...part[b][c]]))),
  );
  return { wav: tf.tensor(rows.map((row) => row.map((samples) => [...samples]))), early };
}

test("the streaming decoder gives decode's samples, most of them before the last codes are there", () => {
  const codec = new EncodecCompressionModel(build({ pad_mode: "reflect", norm: "weight_norm" }, true));
  const wav = tf.randomNormal([2, 1, 2000], 0, 1, "float32", 5);
  const { codes, scale } = codec.encode(wav);
  const whole = codec.decode(codes, scale);
  const { wav: streamed, early } = decodeInPieces(codec.streamingDecoder(2, scale), codes, [10]);
  assertClose(streamed, whole, tolerance);
  assert.ok(early >= 90 * hop, `${early} samples before the flush`);
  const decoder = codec.streamingDecoder(2);
  const values = codes.dataSync() as Int32Array;
  const all = [decoder.push(values), decoder.flush()];
  assert.equal(all[0][1][0].length + all[1][1][0].length, 2000);
  assert.throws(() => decoder.push(values), /flushed/);
});

for (const perTimestep of [false, true]) {
  test(`stereo interleaved over ${perTimestep ? "time steps" : "codebooks"} streams, also from odd pushes`, () => {
    const mono = new EncodecCompressionModel(goldenModel("renorm_reflect"));
    const stereo = new InterleaveStereoCompressionModel(mono, perTimestep);
    const wav = tf.randomNormal([2, 2, 6400], 0, 0.3, "float32", 5);
    const { codes, scale } = stereo.encode(wav);
    const { wav: streamed } = decodeInPieces(stereo.streamingDecoder(2, scale), codes, [1, 2, 3]);
    assertClose(streamed, stereo.decode(codes, scale), tolerance);
  });
}

test("more than 30 s are coded in pieces, with the codes and the audio of the whole", () => {
  const model = build({ pad_mode: "reflect", norm: "weight_norm" }, true);
  const codec = new EncodecCompressionModel(model);
  const wav = tf.randomNormal([1, 1, 31 * 2000 + 7], 0, 1, "float32", 7);
  const long = codec.encode(wav);
  const whole = model.encode(wav);
  const different = tf.sum(tf.cast(tf.notEqual(long.codes, whole.codes), "int32")).dataSync()[0];
  assert.deepEqual(long.codes.shape, whole.codes.shape);
  assert.ok(different <= 3, `${different} codes differ: more than near ties would`);
  assertClose(long.scale!, whole.scale!, 1e-6);
  assertClose(codec.decode(whole.codes, whole.scale), model.decode(whole.codes, whole.scale), tolerance);
});

test("coding in pieces leaves no tensor behind", () => {
  const codec = new EncodecCompressionModel(build({ pad_mode: "reflect" }));
  const wav = tf.randomNormal([1, 1, 31 * 2000], 0, 1, "float32", 7);
  const round = () => {
    const { codes } = codec.encode(wav);
    const decoded = codec.decode(codes);
    tf.dispose([codes, decoded]);
  };
  round();
  const before = tf.memory().numTensors;
  round();
  assert.equal(tf.memory().numTensors, before);
});

/** The shape of facebook/encodec_48khz: stereo, chunks of 100 ms that overlap by 10 ms. */
function chunkedCodec() {
  const config = {
    audio_channels: 2,
    chunk_length_s: 0.1,
    codebook_size: 16,
    hidden_size: 4,
    norm_type: "time_group_norm",
    normalize: true,
    num_filters: 2,
    overlap: 0.1,
    sampling_rate: 2000,
    target_bandwidths: [0.4, 1.2],
    upsampling_ratios: [5, 4],
    use_causal_conv: false,
  };
  const codec = new EncodecCompressionModel(buildHfEncodec(config, new InitializerStream(0)));
  for (const [i, codebook] of codec.model.quantizer.codebooks.entries()) {
    codebook.setVectors(tf.randomNormal([16, 4], 0, 0.5 ** i, "float32", i + 1));
  }
  return codec;
}

test("a codec of chunks codes 20 frames every 18, with a volume each; the last may be shorter", () => {
  const codec = chunkedCodec();
  const wav = tf.randomNormal([2, 2, 610], 0, 1, "float32", 3);
  const { codes, scale } = codec.encode(wav);
  assert.deepEqual(codes.shape, [2, 3, 10 + 10 + 10 + 4]);
  assert.deepEqual(scale!.shape, [2, 4]);
  assert.deepEqual(codec.decode(codes, scale).shape, [2, 2, 540 + 80]);
});

test("a codec of chunks streams chunk by chunk", () => {
  const codec = chunkedCodec();
  const { codes, scale } = codec.encode(tf.randomNormal([2, 2, 610], 0, 1, "float32", 3));
  const { wav, early } = decodeInPieces(codec.streamingDecoder(2, scale), codes, [3]);
  assertClose(wav, codec.decode(codes, scale), tolerance);
  assert.equal(early, 3 * 180);
});
