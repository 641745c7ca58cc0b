/**
 * EnCodec of the 24 kHz and the 48 kHz kind, and with the settings that neither uses, against transformers' EncodecModel
 * (test/golden/encodec_hf): codes, volumes and audio at every bandwidth, batched, of odd lengths, under a padding mask.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { EncodecCompressionModel } from "../../../src/models/encodec/compression.ts";
import { buildHfEncodec } from "../../../src/models/encodec/config.ts";
import { loadEncodec } from "../../../src/models/encodec/weights.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { type Tensor, tf } from "../../../src/runtime/index.ts";
import { assertClose, assertCodes, tolerance } from "./golden.ts";

const folder = new URL("../../golden/encodec_hf/", import.meta.url);

for (const kind of ["24khz", "48khz", "replicate"]) {
  const file = openSafetensors(new URL(`${kind}.safetensors`, folder).pathname);
  const config = JSON.parse(readFileSync(new URL(`${kind}.json`, folder), "utf8"));
  const codec = new EncodecCompressionModel(buildHfEncodec(config, new InitializerStream(0)));
  loadEncodec(codec.model, file, { prefix: "w." });
  const read = (name: string): Tensor => {
    const shape = [...file.shape(name)];
    if (file.dtype(name) === "I32") return tf.tensor(file.read(name) as Int32Array, shape, "int32");
    return tf.tensor(file.readFloat32(name), shape);
  };
  const inputs = file.names.filter((name) => name.startsWith("wav")).map((name) => name.slice(3));

  for (const suffix of inputs) {
    for (const bandwidth of config.target_bandwidths as number[]) {
      test(`${kind}${suffix}, ${bandwidth} kbit/s: codes, volumes and audio equal transformers'`, () => {
        const key = `${suffix}.${bandwidth.toFixed(1)}`;
        const mask = file.has(`mask${suffix}`) ? read(`mask${suffix}`) : null;
        const wav =
          mask === null ? read(`wav${suffix}`) : tf.mul(read(`wav${suffix}`), tf.cast(mask, "float32"));
        const chunks = read(`codes${key}`); // [chunks, B, K, T], the last one filled up
        const [count, batch, codebooks, frames] = chunks.shape as number[];
        const [fill] = read(`pad${key}`).dataSync();
        const row = tf.transpose(chunks, [1, 2, 0, 3]).reshape([batch, codebooks, count * frames]);
        const expected = tf.slice(row, [0, 0, 0], [-1, -1, count * frames - fill]);
        codec.setNumCodebooks(codec.model.codebooksFor(bandwidth));
        const { codes, scale } = codec.encode(wav);
        if (file.has(`encoder_out${suffix}`)) {
          const latents = read(`encoder_out${suffix}`);
          assertClose(codec.model.encodeLatent(wav), latents, tolerance);
          assertCodes(codes, expected, latents, codec.model);
        } else assert.deepEqual(codes.arraySync(), expected.arraySync());
        const volumes = file.has(`scales${key}`) ? tf.transpose(read(`scales${key}`).squeeze([2])) : null;
        if (volumes === null) assert.equal(scale, null);
        else assertClose(scale!, volumes, 1e-6);
        const decoded = read(`decoded${key}`);
        const whole = codec.decode(expected, volumes);
        assertClose(tf.slice(whole, [0, 0, 0], decoded.shape), decoded, tolerance);
      });
    }
  }
}
