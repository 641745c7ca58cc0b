/** A codec of a few thousand weights, and its training step. */
import { asTrainConfig, type CompressionConfig, composeTrainConfig } from "../../src/config/index.ts";
import { buildEncodec } from "../../src/models/encodec/index.ts";
import { quantizerTrainingOptions } from "../../src/models/encodec/training.ts";
import { InitializerStream } from "../../src/nn/index.ts";
import { buildOptimizer } from "../../src/optim/index.ts";
import { type Tensor, tf } from "../../src/runtime/index.ts";
import { AdversaryLearner } from "../../src/solvers/adversary_learner.ts";
import { CodecLosses } from "../../src/solvers/codec_losses.ts";
import { CompressionStep } from "../../src/solvers/compression_step.ts";

export const tinyCodec = [
  "solver=compression/encodec_tiny_16khz",
  "seanet.n_filters=2",
  "seanet.dimension=8",
  "seanet.ratios=[4,5,4,4]",
  "rvq.bins=16",
  "rvq.n_q=2",
  "losses.adv=1",
  "losses.feat=1",
  "adversarial.adversaries=[msstftd]",
  "schedule.lr_scheduler=null",
  "msspec.range_start=7",
  "msspec.range_end=8",
  "msspec.n_mels=16",
  "msstftd.filters=2",
  "msstftd.n_ffts=[64]",
  "msstftd.hop_lengths=[16]",
  "msstftd.win_lengths=[64]",
];

export function tinyCodecConfig(...overrides: string[]): CompressionConfig {
  return asTrainConfig(composeTrainConfig([...tinyCodec, ...overrides])) as CompressionConfig;
}

export function tinyCodecStep(...overrides: string[]) {
  const cfg = tinyCodecConfig("rvq.kmeans_init=false", ...overrides);
  const init = new InitializerStream(1);
  const model = buildEncodec(cfg as never, init);
  const adversaries = cfg.adversarial.adversaries.map((name) => new AdversaryLearner(name, cfg, init));
  const losses = new CodecLosses(cfg, adversaries);
  const trainable = model.namedParameters().filter(([, parameter]) => parameter.trainable);
  const optimizer = buildOptimizer("adam", trainable, cfg.optim.adam as never);
  const quantization = quantizerTrainingOptions(cfg.rvq);
  const step = new CompressionStep({
    model,
    quantization,
    losses,
    adversaries,
    optimizer,
    ema: null,
    maxNorm: null,
  });
  return { model, adversaries, losses, step };
}

/** Two different tones of a fifth of a second, [2, 1, 3200]. */
export function tones(): Tensor {
  const wave = (frequency: number) =>
    Float32Array.from({ length: 3200 }, (_, t) => 0.4 * Math.sin((2 * Math.PI * frequency * t) / 16000));
  return tf.tensor3d([...wave(220), ...wave(660)], [2, 1, 3200]) as Tensor;
}
