/** D-Adaptation: Adam that estimates its own learning rate. */
import { UserError } from "../errors.ts";
import {
  attr,
  hasKernels,
  inTurn,
  runInPlace,
  type Tensor,
  tf,
  Variable,
  zerosVariable,
} from "../runtime/index.ts";
import { betaAttrs, subtract } from "./adam.ts";
import { scaled, total, withGradients } from "./gradients.ts";
import type { AdamConfig, Groups, Optimizer } from "./optimizers.ts";

/**
 * D-Adaptation Adam (Defazio & Mishchenko 2023) as AudioCraft has it: no bias correction, and each update made with the
 * estimate `d` from before it.
 */
export class DAdaptAdam implements Optimizer {
  readonly metricNames = ["d"];
  readonly counters = { updates: 0 };
  private readonly parameters: [string, Variable][];
  private readonly config: AdamConfig;
  private readonly groups: Groups;
  private readonly s: Variable[];
  private readonly expAvg: Variable[];
  private readonly expAvgSq: Variable[];
  private readonly d: Variable;
  private readonly gsqWeighted: Variable;

  constructor(parameters: [string, Variable][], config: AdamConfig, groups: Groups) {
    this.parameters = parameters;
    this.config = config;
    this.groups = groups;
    const zeros = () => parameters.map(([, parameter]) => zerosVariable(parameter.shape));
    this.s = zeros();
    this.expAvg = zeros();
    this.expAvgSq = zeros();
    this.d = new Variable([], () => tf.scalar(config.d0 ?? 1e-6));
    this.gsqWeighted = zerosVariable([]);
  }

  changes(lr: number | number[]): boolean {
    return commonRate(lr) > 0;
  }

  nextHyper(lr: number | number[]): Record<string, number> {
    const rate = commonRate(lr);
    if (rate > 0) this.counters.updates++;
    return { lr: rate };
  }

  apply(gradients: (Tensor | null)[], scale: Tensor | null, { lr }: Record<string, Tensor>): void {
    const { growth_rate: growth } = this.config;
    const [, beta2] = this.config.betas;
    const d = this.d.value;
    const rate = tf.mul(d, lr);
    const sums = hasKernels()
      ? this.momentsInOnePass(gradients, scale ?? tf.scalar(1), rate)
      : this.momentsInPasses(gradients, scale, rate);
    const [gsq, sksq, sk1] = [0, 1, 2].map((i) => total(sums.map((own) => own[i])));
    const moves = tf.greater(sk1, 0);
    const weighted = tf.add(
      tf.mul(this.gsqWeighted.value, beta2),
      tf.mul(gsq, tf.mul(tf.square(rate), 1 - beta2)),
    );
    const unbounded = tf.div(tf.sub(tf.div(sksq, 1 - beta2), weighted), tf.where(moves, sk1, tf.scalar(1)));
    const estimate = growth === undefined ? unbounded : tf.minimum(unbounded, tf.mul(d, growth));
    this.d.assign(tf.where(moves, tf.maximum(d, estimate), d));
    this.gsqWeighted.assign(tf.where(moves, weighted, this.gsqWeighted.value));
    this.move(gradients, rate, moves.toFloat());
  }

  /** Updates the moments; of each parameter with a gradient the sums of g^2 / (sqrt(v) + eps), s^2 / (sqrt(v) + eps) and |s|. */
  private momentsInOnePass(gradients: (Tensor | null)[], scale: Tensor, rate: Tensor): Tensor[][] {
    const { betas, eps, decouple = true } = this.config;
    return withGradients(gradients).map(([index, gradient]) =>
      runInPlace(
        "MgDAdaptMoments",
        [this.s[index], this.expAvg[index], this.expAvgSq[index]],
        [this.parameters[index][1].value, gradient, scale, rate],
        { ...betaAttrs(betas), l2: attr.float(decouple ? 0 : this.decayOf(index)), epsilon: attr.float(eps) },
        [[], [], []],
      ),
    );
  }

  private momentsInPasses(gradients: (Tensor | null)[], scale: Tensor | null, rate: Tensor): Tensor[][] {
    const { betas, eps, decouple = true } = this.config;
    const [beta1, beta2] = betas;
    const sums: Tensor[][] = [];
    inTurn(withGradients(gradients), ([index, unscaled]) => {
      const plain = scaled(unscaled, scale);
      const decay = this.decayOf(index);
      const coupled = !decouple && decay !== 0;
      const gradient = coupled ? tf.add(plain, tf.mul(this.parameters[index][1].value, decay)) : plain;
      const expAvg = tf.add(
        tf.mul(this.expAvg[index].value, beta1),
        tf.mul(gradient, tf.mul(rate, 1 - beta1)),
      );
      const expAvgSq = tf.add(
        tf.mul(this.expAvgSq[index].value, beta2),
        tf.mul(tf.square(gradient), 1 - beta2),
      );
      const denominator = tf.add(tf.sqrt(expAvgSq), eps);
      const s = tf.add(tf.mul(this.s[index].value, beta2), tf.mul(gradient, tf.mul(rate, 1 - beta2)));
      sums.push([
        tf.sum(tf.div(tf.square(gradient), denominator)),
        tf.sum(tf.div(tf.square(s), denominator)),
        tf.sum(tf.abs(s)),
      ]);
      this.expAvg[index].assign(expAvg);
      this.expAvgSq[index].assign(expAvgSq);
      this.s[index].assign(s);
    });
    return sums;
  }

  /** weight -= step (shrink weight + m / (sqrt(v) + eps)), of the parameters with a gradient. */
  private move(gradients: (Tensor | null)[], rate: Tensor, step: Tensor): void {
    const { eps, decouple = true } = this.config;
    inTurn(withGradients(gradients), ([index]) => {
      const [, parameter] = this.parameters[index];
      const [m, v] = [this.expAvg[index].value, this.expAvgSq[index].value];
      const shrink = tf.mul(rate, decouple ? this.decayOf(index) : 0);
      if (hasKernels()) {
        runInPlace("MgDAdaptWeights", [parameter], [m, v, shrink, step], { epsilon: attr.float(eps) });
        return;
      }
      const direction = tf.div(m, tf.add(tf.sqrt(v), eps));
      subtract(parameter, tf.mul(tf.add(tf.mul(parameter.value, shrink), direction), step));
    });
  }

  private decayOf(index: number): number {
    return this.groups.weightDecays[this.groups.of[index]];
  }

  metrics(): Tensor[] {
    return [this.d.value];
  }

  state(): [string, Variable][] {
    return [
      ["d", this.d],
      ["gsq_weighted", this.gsqWeighted],
      ...this.parameters.flatMap(([name], index): [string, Variable][] => [
        [`s.${name}`, this.s[index]],
        [`exp_avg.${name}`, this.expAvg[index]],
        [`exp_avg_sq.${name}`, this.expAvgSq[index]],
      ]),
    ];
  }
}

/** The one rate that D-Adaptation multiplies its estimate by. @throws UserError when groups differ */
function commonRate(lr: number | number[]): number {
  if (!Array.isArray(lr)) return lr;
  if (lr.some((rate) => rate !== lr[0])) {
    throw new UserError(
      "optim.optimizer=dadam finds the rate itself and needs the same factor everywhere: leave transformer_lm.lr and emb_lr null",
    );
  }
  return lr[0];
}
