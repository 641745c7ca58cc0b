/** The T5 encoder against transformers': hidden states after every layer, biases and buckets of positions. */

import type { T5Encoder } from "../models/t5/encoder.ts";
import { loadT5Encoder } from "../models/t5/load.ts";
import { relativePositionBuckets } from "../models/t5/relative_position.ts";
import { maskedScore } from "../nn/index.ts";
import { jit, type Tensor, tf } from "../runtime/index.ts";
import { type Checks, check } from "./check.ts";
import { maxDifference, mismatches } from "./compare.ts";
import type { GoldenFolder } from "./folder.ts";
import { tensorOf } from "./tensors.ts";

const tolerance = 1e-5;

export async function* verifyT5(folder: GoldenFolder): Checks {
  const variants = folder.files.flatMap((file) => /^outputs_(.+)\.safetensors$/.exec(file)?.[1] ?? []);
  for (const variant of variants) yield* verifyVariant(folder, variant);
}

async function* verifyVariant(folder: GoldenFolder, variant: string): Checks {
  const file = `outputs_${variant}`;
  const encoder = await loadT5Encoder(folder.file(`model_${variant}`));
  const forward = jit((ids: Tensor, mask: Tensor) => encoder.forward(ids, mask), { name: "t5" });
  const layers = jit((ids: Tensor, mask: Tensor) => hiddenStates(encoder, ids, mask), { name: "t5_layers" });
  const input = (length?: number): [Tensor, Tensor] => [
    cut(tensorOf(folder, file, "input_ids"), length),
    cut(tensorOf(folder, file, "attention_mask"), length).toFloat() as Tensor,
  ];
  for (const name of folder.namesInOrder(file)) {
    const expected = () => folder.values(file, name);
    const length = folder.tensors(file).shape(name)[1];
    const number = Number(/\d+$/.exec(name)?.[0]);
    const report = `${variant} ${name}`;
    if (name === "input_ids" || name === "attention_mask") continue;
    if (name === "hidden" || name === "hidden_short") {
      yield await check(report, tolerance, () =>
        maxDifference(forward(...input(length)).dataSync(), expected()),
      );
    } else if (name.startsWith("hidden_states.")) {
      yield await check(report, tolerance, () =>
        maxDifference(layers(...input())[number].dataSync(), expected()),
      );
    } else if (name.startsWith("position_bias_")) {
      yield await check(report, tolerance, () => {
        const bias = encoder.encoder.block[0].layer[0].selfAttention.positionBias(number);
        return maxDifference(bias.dataSync(), expected());
      });
    } else if (name.startsWith("buckets_")) {
      yield await check(report, 0, () => {
        const { numBuckets, maxDistance } = encoder.config;
        return mismatches(relativePositionBuckets(number, numBuckets, maxDistance), expected());
      });
    } else {
      yield await check(report, tolerance, () => {
        throw new Error("no check is made for this tensor");
      });
    }
  }
}

/** As transformers lists them: what each layer gets, and the normalized result last. */
function hiddenStates(encoder: T5Encoder, ids: Tensor, mask: Tensor): Tensor[] {
  const { block, finalLayerNorm } = encoder.encoder;
  const states = [encoder.shared.forward(ids)];
  const [batch, length] = mask.shape;
  const padding = tf.mul(tf.sub(1, mask), maskedScore).reshape([batch, 1, 1, length]);
  const bias = tf.add(block[0].layer[0].selfAttention.positionBias(length!), padding) as Tensor;
  for (const layer of block) states.push(layer.forward(states[states.length - 1], bias));
  states[states.length - 1] = finalLayerNorm.forward(states[states.length - 1]);
  return states;
}

/** The first `length` columns. */
function cut(x: Tensor, length = x.shape[1]!): Tensor {
  return tf.slice(x, [0, 0], [x.shape[0], length]);
}
