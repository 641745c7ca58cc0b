/** One update of the language model, and one validation of it, as jitted functions of a batch's codes and conditions. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeGraphEvents } from "../log/tfevents.ts";
import { crossEntropyPerCodebook } from "../losses/cross_entropy.ts";
import { lossMask, type PreparedConditions } from "../models/conditioners/provider.ts";
import type { MusicGenLM } from "../models/lm/lm.ts";
import { type Parameter, withDropout } from "../nn/index.ts";
import { clipByGlobalNorm, type ExponentialMovingAverage, type Optimizer } from "../optim/index.ts";
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

/** What changes from update to update. */
export interface UpdateInput {
  /** The optimizer's numbers, as scalars. */
  hyper: Record<string, Tensor>;
  /** Weight of the new value in the average; null: no averaging in this update. */
  emaWeight: Tensor | null;
  /** What dropout is drawn from, int32 [2]: the same for the same update of the same run. */
  dropoutKey: Tensor;
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
}

export class LMStep {
  private readonly parts: StepParts;
  private readonly trainable: Parameter[];
  private readonly trainStep = jit(
    (batch: StepInput, update: UpdateInput) => this.traceTrain(batch, update),
    {
      name: "train_step",
    },
  );
  private readonly validStep = jit((batch: StepInput) => this.traceValid(batch), { name: "valid_step" });

  constructor(parts: StepParts) {
    this.parts = parts;
    this.trainable = parts.lm.parameters();
  }

  /** Updates the weights; returns the metrics from before the update. */
  train(batch: StepInput, update: UpdateInput): Metrics {
    const { optimizer, lm } = this.parts;
    const [ce, gradNorm, ...rest] = this.trainStep(batch, update).dataSync();
    const codebooks = lm.config.n_q;
    const own = optimizer.metricNames.map((name, i) => [name, rest[codebooks + i]]);
    return { grad_norm: gradNorm, ...Object.fromEntries(own), ...lossMetrics(ce, rest.slice(0, codebooks)) };
  }

  valid(batch: StepInput): Metrics {
    const [ce, ...perCodebook] = this.validStep(batch).dataSync();
    return lossMetrics(ce, perCodebook);
  }

  /** Writes the training step's graph for Netron and TensorBoard into `folder`; returns text about its ops and cost. */
  report(folder: string, batch: StepInput, update: UpdateInput): string {
    const graph = this.trainStep.graphDef(batch, update);
    const events = writeGraphEvents(folder, graph);
    const file = join(folder, "train_step.pb");
    writeFileSync(file, graph);
    return `training step\n${this.trainStep.describe()}\ngraph: ${file} (Netron), ${events} (TensorBoard)`;
  }

  /** Forward, backward, clipping, update, average -> [ce, gradient norm, ce per codebook…, the optimizer's…] */
  private traceTrain(batch: StepInput, { hyper, emaWeight, dropoutKey, moves }: UpdateInput): Tensor {
    const { optimizer, ema, precision, maxNorm } = this.parts;
    const { loss, aux, gradients } = autocast(precision, () =>
      valueAndGradients(() => {
        const { ce, perCodebook } = withDropout(dropoutKey, () => this.loss(batch, true));
        return { loss: ce, aux: { perCodebook } };
      }, this.trainable),
    );
    const { norm, scale } = clipByGlobalNorm(gradients, maxNorm);
    if (moves) optimizer.apply(gradients, scale, hyper);
    if (emaWeight !== null) ema!.apply(emaWeight);
    return tf.stack([loss, norm, ...tf.unstack(aux.perCodebook), ...optimizer.metrics()]);
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
