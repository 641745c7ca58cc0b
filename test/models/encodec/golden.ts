/** The golden tensors of test/golden/encodec and what to compare them with. */
import assert from "node:assert/strict";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { buildEncodec } from "../../../src/models/encodec/config.ts";
import type { EncodecNetwork } from "../../../src/models/encodec/model.ts";
import { loadEncodec } from "../../../src/models/encodec/weights.ts";
import { InitializerStream, type TensorSource } from "../../../src/nn/index.ts";
import { type Tensor, tf } from "../../../src/runtime/index.ts";

const file = openSafetensors(new URL("../../golden/encodec/variants.safetensors", import.meta.url).pathname);
const aliases = JSON.parse(file.metadata.aliases) as Record<string, string>;

/** Latents and audio. */
export const tolerance = 5e-6;

export const variants = [
  "norm_none",
  "causal",
  "renorm_reflect",
  "time_group_norm",
  "noskip_lstm0_layers2",
] as const;
export type Variant = (typeof variants)[number];

/** AudioCraft's sections of a variant. */
export function configOf(variant: Variant) {
  const causal = variant === "causal";
  const seanet = {
    dimension: 16,
    channels: 1,
    causal,
    n_filters: 4,
    n_residual_layers: variant === "noskip_lstm0_layers2" ? 2 : 1,
    ratios: [8, 5, 4, 4],
    activation: "ELU",
    activation_params: { alpha: 1.0 },
    norm: { norm_none: "none", time_group_norm: "time_group_norm" }[variant as string] ?? "weight_norm",
    norm_params: {},
    kernel_size: 7,
    residual_kernel_size: 3,
    last_kernel_size: 7,
    dilation_base: 2,
    pad_mode: variant === "renorm_reflect" ? "reflect" : "constant",
    true_skip: variant !== "noskip_lstm0_layers2",
    compress: 2,
    lstm: variant === "noskip_lstm0_layers2" ? 0 : 2,
    disable_norm_outer_blocks: 0,
    decoder: { trim_right_ratio: 1.0, final_activation: null, final_activation_params: null },
    encoder: {},
  };
  const encodec = {
    autoencoder: "seanet",
    quantizer: "rvq",
    sample_rate: 32000,
    channels: 1,
    causal,
    renormalize: variant === "renorm_reflect",
  };
  return { encodec, seanet, rvq: { n_q: 2, bins: 32, kmeans_init: true } };
}

/** A model with a variant's golden weights. */
export function goldenModel(variant: Exclude<Variant, "noskip_lstm0_layers2">): EncodecNetwork {
  const model = buildEncodec(configOf(variant), new InitializerStream(0));
  loadEncodec(model, goldenWeights(variant));
  return model;
}

/** The weights of a variant under the names `rename` gives them. */
export function goldenWeights(variant: Variant, rename = (name: string) => name): TensorSource {
  const prefix = `${variant}.w.`;
  const stored = new Map(
    [...file.names, ...Object.keys(aliases)]
      .filter((name) => name.startsWith(prefix))
      .map((name) => [rename(name.slice(prefix.length)), aliases[name] ?? name]),
  );
  return {
    path: `golden ${variant}`,
    names: [...stored.keys()],
    shape: (name) => file.shape(stored.get(name)!),
    readFloat32: (name) => file.readFloat32(stored.get(name)!),
  };
}

/** A golden tensor by name. */
export function golden(name: string): Tensor {
  const stored = aliases[name] ?? name;
  const shape = [...file.shape(stored)];
  if (file.dtype(stored) === "I32") return tf.tensor(file.read(stored) as Int32Array, shape, "int32");
  return tf.tensor(file.readFloat32(stored), shape);
}

/** Asserts equal shapes and a largest difference of at most `atol`. */
export function assertClose(actual: Tensor, expected: Tensor, atol: number): void {
  assert.deepEqual(actual.shape, expected.shape);
  const difference = tf.tidy(() => tf.max(tf.abs(tf.sub(actual, expected))).dataSync()[0]);
  assert.ok(difference <= atol, `off by ${difference}, more than ${atol}`);
}

/**
 * Asserts that codes [B, K, T] are the expected ones, except where the choice hangs on rounding: the squared distances of
 * the two candidates differ by less than 1e-5. Later codebooks of such a frame are not compared.
 */
export function assertCodes(actual: Tensor, expected: Tensor, latents: Tensor, model: EncodecNetwork): void {
  assert.deepEqual(actual.shape, expected.shape);
  const [batch, codebooks, frames] = expected.shape;
  const [got, wanted, vectors] = [actual.arraySync(), expected.arraySync(), latents.arraySync()] as [
    number[][][],
    number[][][],
    number[][][],
  ];
  const entries = model.quantizer.codebooks.map(
    (codebook) => tf.tidy(() => codebook.embed.value.arraySync()) as number[][],
  );
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < frames; t++) {
      let residual = vectors[b].map((channel) => channel[t]);
      for (let k = 0; k < codebooks; k++) {
        const distance = (code: number) =>
          entries[k][code].reduce((sum, value, d) => sum + (value - residual[d]) ** 2, 0);
        const [mine, theirs] = [got[b][k][t], wanted[b][k][t]];
        if (mine !== theirs) {
          const margin = Math.abs(distance(mine) - distance(theirs));
          assert.ok(
            margin < 1e-5,
            `code ${mine} instead of ${theirs} at [${b}, ${k}, ${t}], margin ${margin}`,
          );
          break;
        }
        residual = residual.map((value, d) => value - entries[k][theirs][d]);
      }
    }
  }
}
