/** One update of a codec and its adversaries, and one measurement, as jitted functions of waves [B, C, T]. */

import { codecJitMode } from "../models/encodec/jit_mode.ts";
import type { EncodecNetwork } from "../models/encodec/model.ts";
import { type QuantizerTrainingOptions, trainingForward } from "../models/encodec/training.ts";
import { seededSampler } from "../models/encodec/vector_sampler.ts";
import type { Parameter } from "../nn/index.ts";
import {
  clipByGlobalNorm,
  type ExponentialMovingAverage,
  globalNorm,
  type Optimizer,
} from "../optim/index.ts";
import {
  jit,
  seededGradients,
  type Tensor,
  tf,
  valueAndGradientAt,
  valueAndGradients,
} from "../runtime/index.ts";
import type { AdversaryLearner } from "./adversary_learner.ts";
import type { CodecLosses } from "./codec_losses.ts";
import type { Metrics } from "./stage_metrics.ts";

export interface CompressionStepParts {
  model: EncodecNetwork;
  quantization: QuantizerTrainingOptions;
  losses: CodecLosses;
  adversaries: readonly AdversaryLearner[];
  optimizer: Optimizer;
  ema: ExponentialMovingAverage | null;
  /** Bound of the gradients' global norm; null or 0: none. */
  maxNorm: number | null;
}

/** What an update is told beside its wave. */
export interface CompressionUpdate {
  /** Learning rate. */
  lr: number;
  /** How many codebooks take part; null: all. */
  codebooks: number | null;
  /** int32 [2], another for every update: what takes the place of unused codebook entries is drawn from it. */
  key: readonly [number, number];
  /** Whether the adversaries learn, too. */
  withAdversaries: boolean;
  /** Whether the weights are averaged afterwards. */
  averages: boolean;
}

/** The same as a traced function takes it. */
interface Inputs {
  hyper: Hyper;
  /** Of the adversaries; null: they don't learn. */
  adversaries: Hyper[] | null;
  codebooks: Tensor | null;
  key: Tensor;
  emaWeight: Tensor | null;
}
type Hyper = Record<string, Tensor>;

/** Scalars under their names, which are those of the trace. */
interface Measured {
  names: string[];
  values: Tensor;
}

export class CompressionStep {
  private readonly parts: CompressionStepParts;
  private readonly trainable: Parameter[];
  private readonly mode = codecJitMode();
  readonly trainStep = jit((wav: Tensor, inputs: Inputs) => this.traceTrain(wav, inputs), {
    name: "codec_step",
    mode: this.mode,
  });
  private readonly validStep = jit((wav: Tensor) => this.traceValid(wav), {
    name: "codec_valid",
    mode: this.mode,
  });
  private readonly penaltyStep = jit(
    (wav: Tensor, codebooks: Tensor | null) => this.tracePenalty(wav, codebooks),
    {
      name: "penalty_gradient",
      mode: this.mode,
    },
  );
  /** wav -> its reconstruction by all codebooks, of the same length */
  readonly reconstruct = jit((wav: Tensor) => this.parts.model.forward(wav), {
    name: "codec_reconstruct",
    mode: this.mode,
  });
  /** wav -> latents [N, D] before quantization */
  readonly latents = jit(
    (wav: Tensor) => {
      const { model } = this.parts;
      const latents = model.encoder.forward(model.normalized(wav, model.volume(wav)));
      return latents.reshape([-1, latents.shape[2]!]) as Tensor;
    },
    { name: "codec_latents", mode: this.mode },
  );

  constructor(parts: CompressionStepParts) {
    this.parts = parts;
    this.trainable = parts.model.parameters();
  }

  /** Updates everything that learns; returns the metrics from before the update. In a scope of the caller's. */
  train(wav: Tensor, update: CompressionUpdate): Metrics {
    const { names, values } = this.trainStep(wav, this.inputs(update));
    return { bandwidth: this.bandwidth(update.codebooks), ...named(names, values) };
  }

  /** The metrics of a validation: all codebooks take part, and nothing changes. */
  valid(wav: Tensor): Metrics {
    const { names, values } = this.validStep(wav);
    return { bandwidth: this.bandwidth(null), ...named(names, values) };
  }

  /** The norm of the gradient that the quantizer's penalty alone has (AudioCraft's ratio1). Takes a pass of its own. */
  penaltyGradient(wav: Tensor, codebooks: number | null): number {
    return this.penaltyStep(wav, codebooksTensor(codebooks)).dataSync()[0];
  }

  private inputs({ lr, codebooks, key, withAdversaries, averages }: CompressionUpdate): Inputs {
    const { optimizer, adversaries, ema } = this.parts;
    const next = (of: Optimizer): Hyper =>
      Object.fromEntries(Object.entries(of.nextHyper(lr)).map(([name, value]) => [name, tf.scalar(value)]));
    return {
      hyper: next(optimizer),
      adversaries: withAdversaries ? adversaries.map((learner) => next(learner.optimizer)) : null,
      codebooks: codebooksTensor(codebooks),
      key: tf.tensor1d([...key], "int32"),
      emaWeight: averages && ema ? tf.scalar(ema.nextWeight()) : null,
    };
  }

  /**
   * In AudioCraft's order: the codec's reconstruction; the adversaries learn from it; its losses, by the adversaries as they
   * are now, and their balanced gradient; the codec learns.
   */
  private traceTrain(wav: Tensor, { hyper, adversaries, codebooks, key, emaWeight }: Inputs): Measured {
    const { model, optimizer, ema, losses, maxNorm } = this.parts;
    model.iterateSpectralNorms();
    const { aux, gradients } = seededGradients(
      () => {
        const { reconstruction, penalty } = trainingForward(
          model,
          wav,
          this.quantizerTraining(wav, codebooks, key),
        );
        return [reconstruction, penalty];
      },
      ([reconstruction, penalty]) => {
        const learned = adversaries === null ? {} : this.trainAdversaries(reconstruction, wav, adversaries);
        const { minimised, measured } = losses.against(wav, true);
        const wanted = Object.fromEntries(
          minimised.map(([name, loss]) => {
            const { value, gradient } = valueAndGradientAt(loss, reconstruction);
            return [name, { loss: value, gradient }];
          }),
        );
        const { gradient, loss, ratios } = losses.balancer.balance(wanted);
        return {
          gradients: [gradient, tf.onesLike(penalty)],
          aux: {
            ...learned,
            ...Object.fromEntries(Object.entries(wanted).map(([name, { loss: value }]) => [name, value])),
            penalty: tf.clone(penalty),
            g_loss: loss,
            ...Object.fromEntries(Object.entries(ratios).map(([name, ratio]) => [`ratio_${name}`, ratio])),
            ...evaluated(measured, reconstruction),
          },
        };
      },
      this.trainable,
    );
    const { norm, scale } = clipByGlobalNorm(gradients, maxNorm);
    optimizer.apply(gradients, scale, hyper);
    if (emaWeight !== null) ema!.apply(emaWeight);
    return stacked({ ...aux, ratio2: norm });
  }

  private trainAdversaries(fake: Tensor, real: Tensor, hypers: Hyper[]): Record<string, Tensor> {
    const { adversaries } = this.parts;
    if (adversaries.length === 0) return {};
    const losses = adversaries.map(({ train }, i) => train(fake, real, hypers[i]));
    const own = adversaries.map(({ name }, i): [string, Tensor] => [`d_${name}`, losses[i]]);
    return { ...Object.fromEntries(own), d_loss: tf.addN(losses) };
  }

  private traceValid(wav: Tensor): Measured {
    const { model, losses } = this.parts;
    const { reconstruction } = trainingForward(model, wav, {});
    const { minimised, measured } = losses.against(wav, false);
    return stacked(evaluated([...minimised, ...measured], reconstruction));
  }

  private tracePenalty(wav: Tensor, codebooks: Tensor | null): Tensor {
    const { model, quantization } = this.parts;
    const { gradients } = valueAndGradients(() => {
      const latents = model.encoder.forward(model.normalized(wav, model.volume(wav)));
      const { penalty } = model.quantizer.forward(latents, {
        codebooks,
        orthogonal: quantization.orthogonal,
      });
      return { loss: penalty, aux: {} };
    }, this.trainable);
    return globalNorm(gradients);
  }

  private quantizerTraining(wav: Tensor, codebooks: Tensor | null, key: Tensor) {
    const { model, quantization } = this.parts;
    const { decay, deadThreshold, orthogonal } = quantization;
    const vectors = wav.shape[0] * Math.ceil(wav.shape[2]! / model.hopLength);
    const threshold = Math.min(deadThreshold, deadestShare * (vectors / model.cardinality));
    return {
      codebooks,
      orthogonal,
      learning: { decay, deadThreshold: threshold, sample: seededSampler(key) },
    };
  }

  private bandwidth(codebooks: number | null): number {
    const { model } = this.parts;
    return model.bandwidthOf(codebooks ?? model.totalCodebooks);
  }
}

/**
 * An entry is dead that fewer than `rvq.threshold_ema_dead_code` vectors choose in an update, but at most this share of what
 * each would get if all were chosen alike. (AudioCraft's threshold is not bound to the batch, and has no effect there; taken at
 * its word, 2 replaces most of a codebook in every update of a small batch.)
 */
const deadestShare = 0.1;

function evaluated(losses: [string, (wav: Tensor) => Tensor][], wav: Tensor): Record<string, Tensor> {
  return Object.fromEntries(losses.map(([name, loss]) => [name, loss(wav)]));
}

function stacked(scalars: Record<string, Tensor>): Measured {
  const values = Object.values(scalars).map((scalar) => scalar.reshape([]));
  return { names: Object.keys(scalars), values: tf.stack(values) as Tensor };
}

/** With the sums over the adversaries: adv, feat. */
function named(names: string[], values: Tensor): Metrics {
  const numbers = values.dataSync();
  const metrics: Metrics = Object.fromEntries(names.map((name, i) => [name, numbers[i]]));
  for (const kind of ["adv", "feat"]) {
    const parts = names.filter((name) => name.startsWith(`${kind}_`));
    if (parts.length > 0) metrics[kind] = parts.reduce((sum, name) => sum + metrics[name], 0);
  }
  return metrics;
}

function codebooksTensor(codebooks: number | null): Tensor | null {
  return codebooks === null ? null : tf.scalar(codebooks, "int32");
}
