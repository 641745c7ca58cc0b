/** Batch norm over channels, without weights: its statistics are buffers. */
import { Module, ones, Parameter, zeros } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";

const EPSILON = 1e-5;
const MOMENTUM = 0.1;

export class BatchNorm extends Module {
  readonly runningMean: Parameter;
  readonly runningVar: Parameter;
  readonly numBatchesTracked: Parameter;

  constructor(channels: number) {
    super();
    const options = { trainable: false };
    this.runningMean = new Parameter([channels], zeros, options);
    this.runningVar = new Parameter([channels], ones, options);
    this.numBatchesTracked = new Parameter([], zeros, options);
  }

  /** x [B, T, C] by the statistics of the batch, or by those of training. */
  forward(x: Tensor, byBatch: boolean): Tensor {
    const mean = byBatch ? tf.mean(x, [0, 1]) : this.runningMean.value;
    const centred = tf.sub(x, mean);
    const variance = byBatch ? tf.mean(tf.square(centred), [0, 1]) : this.runningVar.value;
    return tf.mul(centred, tf.rsqrt(tf.add(variance, EPSILON)));
  }

  /** Moves the statistics towards those of x [B, T, C], the variance as of a sample (divided by n - 1). */
  track(x: Tensor): void {
    const [batch, steps] = x.shape;
    const count = batch * steps;
    const mean = tf.mean(x, [0, 1]);
    const variance = tf.mean(tf.square(tf.sub(x, mean)), [0, 1]);
    const moved = (statistic: Parameter, now: Tensor) =>
      statistic.assign(tf.add(tf.mul(statistic.value, 1 - MOMENTUM), tf.mul(now, MOMENTUM)));
    moved(this.runningMean, mean as Tensor);
    moved(this.runningVar, tf.mul(variance, count / Math.max(1, count - 1)) as Tensor);
    this.numBatchesTracked.assign(tf.add(this.numBatchesTracked.value, 1));
  }
}
