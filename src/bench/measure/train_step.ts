/** A training step: forward, cross entropy, backward, clipping to norm 1, AdamW; without average, as the peer has none. */
import { buildOptimizer } from "../../optim/index.ts";
import { scoped, type Tensor, tf } from "../../runtime/index.ts";
import { LMStep, type TrainInput } from "../../solvers/lm_step.ts";
import { type Measurement, peakBytes, timed } from "../measurement.ts";
import type { Request } from "../request.ts";
import { autocastOf, buildModel, randomCodes, versions } from "./model.ts";

export async function measureTrainStep(request: Request): Promise<Measurement> {
  const { model, precision } = request;
  const lm = buildModel(model, request.checkpointing);
  const trainable = lm.namedParameters().filter(([, parameter]) => parameter.trainable);
  const adam = { betas: [0.9, 0.95] as [number, number], weight_decay: 0.1, eps: 1e-8 };
  const step = new LMStep({
    lm,
    optimizer: buildOptimizer("adamw", trainable, adam),
    ema: null,
    precision: autocastOf(precision),
    maxNorm: 1,
  });
  const texts = Array.from({ length: model.batch }, () => ({
    text: { description: "text" },
    wav: {},
    joint_embed: {},
  }));
  const batch: TrainInput = {
    codes: randomCodes(model),
    mask: null,
    conditions: lm.conditionProvider.prepare(texts, { training: true }),
    dropoutKey: tf.tensor1d([0, 0], "int32") as Tensor,
  };
  const losses: number[] = [];
  const work = () => losses.push(scoped(() => step.train([batch], 1e-4, false)).ce);
  const seconds = await timed(work, request);
  return {
    series: { step: seconds },
    peakBytes: peakBytes(),
    facts: { parameters: lm.parameterCount(), firstLoss: losses[0] },
    versions: versions(),
  };
}
