/** One update of the language model, and one validation of it, as jitted functions of a batch's codes and conditions. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeGraphEvents } from "../log/tfevents.ts";
import { crossEntropyPerCodebook } from "../losses/cross_entropy.ts";
import { lossMask, type PreparedConditions } from "../models/conditioners/provider.ts";
import type { MusicGenLM } from "../models/lm/lm.ts";
import { type Parameter, withDropout } from "../nn/index.ts";
import {
  clipByGlobalNorm,
  type ExponentialMovingAverage,
  GradientAccumulator,
  globalNorm,
  type LossScaler,
  type Optimizer,
} from "../optim/index.ts";
import { type AutocastType, autocast, jit, type Tensor, tf, valueAndGradients } from "../runtime/index.ts";
import type { Metrics } from "./stage_metrics.ts";

/** A batch as the step takes it. */
export interface StepInput {
  /** int32 [B, K, T] */
  codes: Tensor;
  /** float32 [B, K, T], 1 where a code counts; null: all do. */
  mask: Tensor | null;
  conditions: PreparedConditions;
}

/** A batch to learn from. */
export interface TrainInput extends StepInput {
  /** int32 [2], another for every batch: what dropout draws from. */
  dropoutKey: Tensor;
}

/** What changes from update to update. */
export interface UpdateInput {
  /** The optimizer's numbers, as scalars. */
  hyper: Record<string, Tensor>;
  /** Weight of the new value in the average; null: no averaging in this update. */
  emaWeight: Tensor | null;
  /** Static: whether the optimizer moves the weights (D-Adaptation rests while the rate is 0). */
  moves: boolean;
}

export interface StepParts {
  lm: MusicGenLM;
  optimizer: Optimizer;
  ema: ExponentialMovingAverage | null;
  precision: AutocastType | null;
  /** Bound of the gradients' global norm; null or 0: none. */
  maxNorm: number | null;
  /** For float16; updates that overflow are left out. */
  scaler?: LossScaler | null;
  /** Leave out updates that are not finite without a scaler, too. */
  skipNonfinite?: boolean;
}

/**
 * An update of one batch is a single function. When its gradients come from several batches, or when the host first has to
 * see whether they are finite, they are summed in variables, and applying them is a function of its own.
 */
export class LMStep {
  private readonly parts: StepParts;
  private readonly trainable: Parameter[];
  private readonly sums: GradientAccumulator;
  private lastUpdate: UpdateInput | null = null;
  private readonly trainStep = jit(
    (batch: TrainInput, update: UpdateInput) => this.traceTrain(batch, update),
    { name: "train_step" },
  );
  private readonly gradientStep = jit(
    (batch: TrainInput, factor: Tensor, isFirst: boolean) => this.traceGradients(batch, factor, isFirst),
    { name: "gradient_step" },
  );
  private readonly normStep = jit(() => globalNorm(this.sums.values()), { name: "gradient_norm" });
  private readonly applyStep = jit(
    (scale: Tensor, { hyper }: Pick<UpdateInput, "hyper">) => this.traceApply(scale, hyper),
    { name: "apply_gradients" },
  );
  private readonly averageStep = jit(
    (weight: Tensor) => {
      this.parts.ema!.apply(weight);
      return tf.zeros([]) as Tensor;
    },
    { name: "average_step" },
  );
  private readonly validStep = jit((batch: StepInput) => this.traceValid(batch), { name: "valid_step" });

  constructor(parts: StepParts) {
    this.parts = parts;
    this.trainable = parts.lm.parameters();
    this.sums = new GradientAccumulator(this.trainable);
  }

  /**
   * Updates the weights with the mean gradient of `batches` at rate `lr` (or one for each of the optimizer's groups), and with `averages` the average of the weights.
   * Returns the metrics from before the update: without grad_norm and with skipped = 1 when it was left out.
   */
  train(batches: TrainInput[], lr: number | number[], averages: boolean): Metrics {
    const { scaler, skipNonfinite } = this.parts;
    if (batches.length > 1 || scaler || skipNonfinite) return this.trainInParts(batches, lr, averages);
    this.lastUpdate = this.nextUpdate(lr, averages);
    const [ce, gradNorm, ...rest] = this.trainStep(batches[0], this.lastUpdate).dataSync();
    const codebooks = this.parts.lm.config.n_q;
    return {
      grad_norm: gradNorm,
      ...this.named(rest.slice(codebooks)),
      ...lossMetrics(ce, rest.slice(0, codebooks)),
    };
  }

  valid(batch: StepInput): Metrics {
    const [ce, ...perCodebook] = this.validStep(batch).dataSync();
    return lossMetrics(ce, perCodebook);
  }

  /**
   * After an update, in the same scope: writes the graph of its step on `batch` for Netron and TensorBoard into `folder`;
   * returns text about its ops and cost.
   */
  report(folder: string, batch: TrainInput): string {
    const update = this.lastUpdate;
    const graph = update
      ? this.trainStep.graphDef(batch, update)
      : this.gradientStep.graphDef(batch, tf.scalar(1), true);
    const events = writeGraphEvents(folder, graph);
    const file = join(folder, "train_step.pb");
    writeFileSync(file, graph);
    const text = (update ? this.trainStep : this.gradientStep).describe();
    return `training step\n${text}\ngraph: ${file} (Netron), ${events} (TensorBoard)`;
  }

  /** Gradients of every batch, then a look at their norm, then the update. */
  private trainInParts(batches: TrainInput[], lr: number | number[], averages: boolean): Metrics {
    const { scaler, ema, maxNorm, optimizer } = this.parts;
    const scale = scaler?.state.scale ?? 1;
    const factor = tf.scalar(scale / batches.length);
    const losses = batches.map((batch, i) => this.gradientStep(batch, factor, i === 0).dataSync());
    const mean = Float64Array.from(losses[0], (_, i) => average(losses.map((values) => values[i])));
    const norm = this.normStep().dataSync()[0] / scale;
    const finite = Number.isFinite(norm) && Number.isFinite(mean[0]);
    scaler?.update(finite);
    const own: Metrics = scaler ? { grad_scale: scaler.state.scale } : {};
    if (finite) {
      const clip = maxNorm ? Math.min(1, maxNorm / (norm + 1e-6)) : 1;
      if (optimizer.changes(lr)) {
        const hyper = scalars(optimizer.nextHyper(lr));
        const values = this.applyStep(tf.scalar(clip / scale), { hyper }).dataSync();
        Object.assign(own, this.named(values));
      }
      own.grad_norm = norm;
    } else own.skipped = 1;
    if (averages) this.averageStep(tf.scalar(ema!.nextWeight())).dispose();
    return { ...own, ...lossMetrics(mean[0], mean.subarray(1)) };
  }

  private nextUpdate(lr: number | number[], averages: boolean): UpdateInput {
    const { optimizer, ema } = this.parts;
    const moves = optimizer.changes(lr);
    return {
      hyper: scalars(optimizer.nextHyper(lr)),
      emaWeight: averages ? tf.scalar(ema!.nextWeight()) : null,
      moves,
    };
  }

  /** The optimizer's own metrics. */
  private named(values: ArrayLike<number>): Metrics {
    return Object.fromEntries(this.parts.optimizer.metricNames.map((name, i) => [name, values[i]]));
  }

  /** Forward, backward, clipping, update, average -> [ce, gradient norm, ce per codebook…, the optimizer's…] */
  private traceTrain(batch: TrainInput, { hyper, emaWeight, moves }: UpdateInput): Tensor {
    const { optimizer, ema, maxNorm } = this.parts;
    const { loss, aux, gradients } = this.lossAndGradients(batch, null);
    const { norm, scale } = clipByGlobalNorm(gradients, maxNorm);
    if (moves) optimizer.apply(gradients, scale, hyper);
    if (emaWeight !== null) ema!.apply(emaWeight);
    return tf.stack([loss, norm, ...tf.unstack(aux.perCodebook), ...optimizer.metrics()]);
  }

  /** Forward and backward of the loss times `factor`, into the sums -> [ce, ce per codebook…] */
  private traceGradients(batch: TrainInput, factor: Tensor, isFirst: boolean): Tensor {
    const { aux, gradients } = this.lossAndGradients(batch, factor);
    this.sums.add(gradients, isFirst);
    return tf.stack([aux.ce, ...tf.unstack(aux.perCodebook)]);
  }

  private traceApply(scale: Tensor, hyper: Record<string, Tensor>): Tensor {
    const { optimizer } = this.parts;
    optimizer.apply(this.sums.values(), scale, hyper);
    const metrics = optimizer.metrics();
    return metrics.length > 0 ? tf.stack(metrics) : (tf.zeros([0]) as Tensor);
  }

  private lossAndGradients(batch: TrainInput, factor: Tensor | null) {
    return autocast(this.parts.precision, () =>
      valueAndGradients(() => {
        const { ce, perCodebook } = withDropout(batch.dropoutKey, () => this.loss(batch, true));
        return { loss: factor === null ? ce : tf.mul(ce, factor), aux: { ce, perCodebook } };
      }, this.trainable),
    );
  }

  private traceValid(batch: StepInput): Tensor {
    const { ce, perCodebook } = autocast(this.parts.precision, () => this.loss(batch, false));
    return tf.stack([ce, ...tf.unstack(perCodebook)]);
  }

  private loss({ codes, mask, conditions }: StepInput, training: boolean) {
    const { lm } = this.parts;
    const {
      logits,
      targets,
      mask: patternMask,
    } = lm.predictions(codes, lm.conditionProvider.forward(conditions, { training }));
    // Beside the pattern's ends, padding does not count, nor what a condition was cut from.
    const heard = lossMask(conditions)?.expandDims(1).tile([1, lm.config.n_q, 1]) ?? null;
    const counted = [mask, heard].reduce<Tensor>(
      (all, cells) => (cells === null ? all : tf.mul(all, lm.alongSteps(cells))),
      patternMask,
    );
    const card = tf.scalar(lm.config.card - 1, "int32"); // a special token is no class; its positions don't count
    return crossEntropyPerCodebook(logits, tf.minimum(targets, card), counted);
  }
}

function lossMetrics(ce: number, perCodebook: ArrayLike<number>): Metrics {
  const metrics: Metrics = { ce, ppl: Math.exp(ce) };
  for (let k = 0; k < perCodebook.length; k++) {
    metrics[`ce_q${k + 1}`] = perCodebook[k];
    metrics[`ppl_q${k + 1}`] = Math.exp(perCodebook[k]);
  }
  return metrics;
}

function scalars(values: Record<string, number>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, tf.scalar(value)]));
}

function average(values: number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
