/**
 * Exponential moving average of a model's weights (AudioCraft's ModuleDictEMA), unbiased: the weight of the newest value is
 * 1 / count with count <- count decay + 1, so the first step copies and later ones approach 1 - decay.
 */
import type { Parameter } from "../nn/index.ts";
import { hasKernels, inTurn, runInPlace, type Tensor, tf, Variable } from "../runtime/index.ts";

export class ExponentialMovingAverage {
  /** The averages, by the parameters' names. */
  readonly averages: [string, Variable][];
  /** Of the host: saved with the averages. */
  count = 0;
  private readonly parameters: [string, Parameter][];
  private readonly decay: number;
  private readonly unbias: boolean;

  /** Starts from the parameters' (and buffers') values. */
  constructor(parameters: [string, Parameter][], decay: number, unbias = true) {
    this.parameters = parameters;
    this.decay = decay;
    this.unbias = unbias;
    this.averages = parameters.map(([name, parameter]) => [
      name,
      new Variable(parameter.shape, () => parameter.value),
    ]);
    for (const [, average] of this.averages) average.handle; // the values of now, not of the first use
  }

  /** Counts an update and returns its weight for `apply`. */
  nextWeight(): number {
    if (!this.unbias) return 1 - this.decay;
    this.count = this.count * this.decay + 1;
    return 1 / this.count;
  }

  /** average <- average (1 - weight) + value weight, inside the jitted step. weight: float32 scalar. */
  apply(weight: Tensor): void {
    if (hasKernels()) {
      for (const [index, [, { value }]] of this.parameters.entries())
        runInPlace("MgMovingAverage", [this.averages[index][1]], [value, weight]);
      return;
    }
    inTurn(this.parameters.entries(), ([index, [, parameter]]) => {
      const average = this.averages[index][1];
      average.assign(tf.add(tf.mul(average.value, tf.sub(1, weight)), tf.mul(parameter.value, weight)));
    });
  }

  /** Exchanges weights and averages; calling it again restores them. Nothing is copied. */
  swap(): void {
    for (const [index, [, parameter]] of this.parameters.entries()) parameter.swap(this.averages[index][1]);
  }
}
