/** The language model that training and generation are measured with, built from a composed config. */
import { asMusicGenConfig, composeTrainConfig } from "../../config/index.ts";
import { Conditioner, crossBias, type PreparedCondition } from "../../models/conditioners/base.ts";
import { ConditionFuser } from "../../models/conditioners/fuser.ts";
import { ConditioningProvider } from "../../models/conditioners/provider.ts";
import { MusicGenLM } from "../../models/lm/lm.ts";
import { buildPatternProvider } from "../../models/lm/patterns.ts";
import { InitializerStream } from "../../nn/index.ts";
import { type AutocastType, type Tensor, tf } from "../../runtime/index.ts";
import { nativeInstallation } from "../../runtime/native.ts";
import { CODEBOOKS, type ModelSize, type Precision, TEXT } from "../sizes.ts";

/** MusicGen as its config says, in another size, with random weights and fixed vectors in the place of T5's. */
export function buildModel({ dim, layers, heads, card }: ModelSize, checkpointing = "none"): MusicGenLM {
  const cfg = asMusicGenConfig(
    composeTrainConfig([
      "solver=musicgen/musicgen_base_32khz",
      `transformer_lm.checkpointing=${checkpointing}`,
      `transformer_lm.dim=${dim}`,
      `transformer_lm.num_layers=${layers}`,
      `transformer_lm.num_heads=${heads}`,
      `transformer_lm.card=${card}`,
      `transformer_lm.n_q=${CODEBOOKS}`,
    ]),
  );
  const options = cfg.transformer_lm;
  const init = new InitializerStream(0);
  const provider = new ConditioningProvider({ description: new FixedConditioner(TEXT.dim, dim, init) });
  const fuser = new ConditionFuser({ cross: ["description"] });
  const patterns = buildPatternProvider(cfg.codebooks_pattern, options.n_q, options.q_modeling);
  return new MusicGenLM({ ...options, cross_attention: true }, { patterns, provider, fuser }, init);
}

/** A text that is there is a sequence of random vectors, and a null one zeros under mask 0; the projection is the model's. */
class FixedConditioner extends Conditioner<"text"> {
  readonly kind = "text";

  override prepare(texts: readonly (string | null)[]): PreparedCondition {
    const { positions, dim } = TEXT;
    const values = new Float32Array(texts.length * positions * dim);
    const mask = new Float32Array(texts.length * positions);
    for (const [row, text] of texts.entries()) {
      if (text === null) continue;
      values.set(noise(positions * dim, row), row * positions * dim);
      mask.fill(1, row * positions, (row + 1) * positions);
    }
    return {
      input: tf.tensor3d(values, [texts.length, positions, dim]),
      mask: tf.tensor2d(mask, [texts.length, positions]),
      crossBias: crossBias(positions),
    };
  }

  override forward(prepared: PreparedCondition) {
    return this.project(prepared.input, prepared);
  }
}

/** int32 [batch, 4, frames] */
export function randomCodes({ batch, frames, card }: ModelSize): Tensor {
  const values = Int32Array.from(noise(batch * CODEBOOKS * frames, 1), (u) =>
    Math.floor(((u + 1) / 2) * card),
  );
  return tf.tensor3d(values, [batch, CODEBOOKS, frames], "int32");
}

/** Uniform in [-1, 1), the same for the same seed. */
export function noise(count: number, seed: number): Float32Array {
  let state = (seed + 1) * 0x9e3779b1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 23 - 1;
  });
}

export function autocastOf(precision: Precision): AutocastType | null {
  return precision === "bf16" ? "bfloat16" : null;
}

export function versions(): Record<string, string> {
  return { node: process.versions.node, tensorflow: nativeInstallation().tensorflowVersion };
}
