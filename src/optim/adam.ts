/** Adam, in one pass over the weights by our own op, or in several by TensorFlow's. */
import {
  attr,
  hasKernels,
  inTurn,
  runInPlace,
  runUpdate,
  type Tensor,
  tf,
  type Variable,
  zerosVariable,
} from "../runtime/index.ts";
import { scaled, withGradients } from "./gradients.ts";
import type { AdamConfig, Groups, Optimizer } from "./optimizers.ts";

/** Adam (Kingma & Ba 2015), with weight decay decoupled (Loshchilov & Hutter 2019) or as an L2 term. */
export class Adam implements Optimizer {
  readonly metricNames = [];
  readonly counters = { updates: 0 };
  private readonly parameters: [string, Variable][];
  private readonly config: AdamConfig;
  private readonly groups: Groups;
  private readonly decoupled: boolean;
  private readonly expAvg: Variable[];
  private readonly expAvgSq: Variable[];

  constructor(parameters: [string, Variable][], config: AdamConfig, groups: Groups, decoupled: boolean) {
    this.parameters = parameters;
    this.config = config;
    this.groups = groups;
    this.decoupled = decoupled;
    this.expAvg = parameters.map(([, parameter]) => zerosVariable(parameter.shape));
    this.expAvgSq = parameters.map(([, parameter]) => zerosVariable(parameter.shape));
  }

  changes(): boolean {
    return true;
  }

  /** Both bias corrections move into the rate and epsilon: m / (sqrt(v) + eps') * rate'. */
  nextHyper(lr: number | number[]): Record<string, number> {
    const step = ++this.counters.updates;
    const [beta1, beta2] = this.config.betas;
    const correction2 = Math.sqrt(1 - beta2 ** step);
    const hyper: Record<string, number> = { epsilon: this.config.eps * correction2 };
    for (const [group, decay] of this.groups.weightDecays.entries()) {
      const rate = Array.isArray(lr) ? lr[group] : lr;
      hyper[`rate.${group}`] = (rate * correction2) / (1 - beta1 ** step);
      hyper[`decay.${group}`] = rate * decay;
    }
    return hyper;
  }

  apply(gradients: (Tensor | null)[], scale: Tensor | null, hyper: Record<string, Tensor>): void {
    if (hasKernels()) this.applyInOnePass(gradients, scale ?? tf.scalar(1), hyper);
    else this.applyInPasses(gradients, scale, hyper);
  }

  private applyInOnePass(gradients: (Tensor | null)[], scale: Tensor, hyper: Record<string, Tensor>): void {
    const none = tf.scalar(0);
    for (const [index, gradient] of withGradients(gradients)) {
      const group = this.groups.of[index];
      const l2 = this.decoupled ? 0 : this.groups.weightDecays[group];
      const decay = this.decoupled ? hyper[`decay.${group}`] : none;
      const [, parameter] = this.parameters[index];
      runInPlace(
        "MgAdam",
        [parameter, this.expAvg[index], this.expAvgSq[index]],
        [gradient, scale, hyper[`rate.${group}`], decay, hyper.epsilon],
        { ...betaAttrs(this.config.betas), l2: attr.float(l2) },
      );
    }
  }

  /**
   * TensorFlow's kernel computes 1 - beta in float32 (1 - 0.999 is off by 1.3e-5 there): its m and v are PyTorch's times a
   * constant, by which rate and epsilon make up for it.
   */
  private applyInPasses(
    gradients: (Tensor | null)[],
    scale: Tensor | null,
    hyper: Record<string, Tensor>,
  ): void {
    const [rounding1, rounding2] = this.config.betas.map((beta) => (1 - Math.fround(beta)) / (1 - beta));
    const epsilon = tf.mul(hyper.epsilon, Math.sqrt(rounding2));
    const [beta1, beta2] = this.config.betas.map((beta) => tf.scalar(beta));
    const zero = tf.scalar(0);
    inTurn(withGradients(gradients), ([index, unscaled]) => {
      const [, parameter] = this.parameters[index];
      const group = this.groups.of[index];
      const rate = tf.mul(hyper[`rate.${group}`], Math.sqrt(rounding2) / rounding1);
      const weightDecay = this.groups.weightDecays[group];
      let gradient = scaled(unscaled, scale);
      if (weightDecay !== 0) {
        if (this.decoupled) subtract(parameter, tf.mul(parameter.value, hyper[`decay.${group}`]));
        else gradient = tf.add(gradient, tf.mul(parameter.value, weightDecay));
      }
      runUpdate(
        "ResourceApplyAdam",
        [
          parameter,
          this.expAvg[index],
          this.expAvgSq[index],
          zero,
          zero,
          rate,
          beta1,
          beta2,
          epsilon,
          gradient,
        ],
        { T: attr.type("float32"), use_locking: false, use_nesterov: false },
      );
    });
  }

  metrics(): Tensor[] {
    return [];
  }

  state(): [string, Variable][] {
    return this.parameters.flatMap(([name], index): [string, Variable][] => [
      [`exp_avg.${name}`, this.expAvg[index]],
      [`exp_avg_sq.${name}`, this.expAvgSq[index]],
    ]);
  }
}

/** The betas as attributes of our kernels, which get 1 - beta before it is rounded to float32. */
export function betaAttrs([beta1, beta2]: [number, number]) {
  return {
    beta1: attr.float(beta1),
    beta2: attr.float(beta2),
    rest1: attr.float(1 - beta1),
    rest2: attr.float(1 - beta2),
  };
}

/** variable -= amount, in place. */
export function subtract(variable: Variable, amount: Tensor): void {
  runUpdate("AssignSubVariableOp", [variable, amount], { dtype: attr.type("float32") });
}
