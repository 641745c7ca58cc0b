/** EnCodec as its training runs it: with gradients through quantization and codebooks that learn. */
import { UserError } from "../../errors.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import type { Section } from "./config.ts";
import { initializeCodebooks, isInitialized, type KMeansOptions } from "./kmeans.ts";
import type { EncodecNetwork } from "./model.ts";
import type { QuantizerTraining } from "./quantizer.ts";

/** The `rvq` section of a config, as far as only training depends on it. */
export interface QuantizerTrainingOptions {
  /** In training, a random number of codebooks takes part. */
  codebookDropout: boolean;
  decay: number;
  deadThreshold: number;
  kmeansInit: boolean;
  kmeansIterations: number;
  orthogonal: { weight: number; activeOnly: boolean } | null;
}

/** Defaults are those of AudioCraft's class. @throws UserError for values of the wrong kind */
export function quantizerTrainingOptions(rvq: Section): QuantizerTrainingOptions {
  const get = <T extends number | boolean>(key: string, fallback: T): T => {
    const value = rvq[key] ?? fallback;
    if (typeof value === typeof fallback) return value as T;
    throw new UserError(`rvq.${key}=${JSON.stringify(value)} is not a ${typeof fallback}.`);
  };
  const weight = get("orthogonal_reg_weight", 0);
  const activeOnly = get("orthogonal_reg_active_codes_only", false);
  if (rvq.orthogonal_reg_max_codes != null) {
    throw new UserError("rvq.orthogonal_reg_max_codes is not built: take it out.");
  }
  return {
    codebookDropout: get("q_dropout", false),
    decay: get("decay", 0.99),
    deadThreshold: get("threshold_ema_dead_code", 2),
    kmeansInit: get("kmeans_init", true),
    kmeansIterations: get("kmeans_iters", 10),
    orthogonal: weight > 0 ? { weight, activeOnly } : null,
  };
}

/**
 * wav [B, C, T] -> what is left of it after coding, of the same length; the codes [B, K, frames]; and the quantizer's penalty,
 * to be minimised beside the losses of the wave.
 */
export function trainingForward(
  model: EncodecNetwork,
  wav: Tensor,
  quantization: QuantizerTraining,
): { reconstruction: Tensor; codes: Tensor; penalty: Tensor } {
  const volume = model.volume(wav);
  const latents = model.encoder.forward(model.normalized(wav, volume));
  const { quantized, codes, penalty } = model.quantizer.forward(latents, quantization);
  const decoded = tf.transpose(model.decoder.forward(quantized), [0, 2, 1]) as Tensor;
  const trimmed = tf.slice(decoded, [0, 0, 0], wav.shape);
  return { reconstruction: volume === null ? trimmed : tf.mul(trimmed, volume), codes, penalty };
}

/** Makes the codebooks of a first batch [B, C, T] by k-means, unless they are made already. Outside of the jitted step. */
export function initializeQuantizer(model: EncodecNetwork, wav: Tensor, options: KMeansOptions): void {
  if (isInitialized(model.quantizer)) return;
  tf.tidy(() => {
    const latents = model.encoder.forward(model.normalized(wav, model.volume(wav)));
    initializeCodebooks(model.quantizer, latents.reshape([-1, latents.shape[2]!]), options);
  });
}
