/**
 * Optimizers as updates of variables in place. `nextHyper(lr)` gives, on the host and in double precision, the numbers of the
 * next update; `apply` uses them as tensors inside the jitted step.
 */
import { UserError } from "../errors.ts";
import {
  attr,
  inTurn,
  runOp,
  runUpdate,
  type Tensor,
  tf,
  Variable,
  zerosVariable,
} from "../runtime/index.ts";

export interface AdamConfig {
  betas: [number, number];
  weight_decay: number;
  /** 1e-8 by default. */
  eps?: number;
  /** D-Adaptation: decoupled weight decay (default), or as an L2 term. */
  decouple?: boolean;
  /** D-Adaptation: how much the estimate may grow in an update; no bound by default. */
  growth_rate?: number;
  /** D-Adaptation: the first estimate, 1e-6 by default. */
  d0?: number;
}

type Settings = AdamConfig & { eps: number };

/** Parameters with settings of their own, in the manner of PyTorch's parameter groups. */
export interface Groups {
  /** The group of each parameter. */
  of: number[];
  /** The weight decay of each group. */
  weightDecays: number[];
}

export interface Optimizer {
  /** Numbers that the next update needs, by name; one rate for all groups, or one each. Counts the update. */
  nextHyper(lr: number | number[]): Record<string, number>;
  /** Whether an update at this rate changes anything (D-Adaptation skips updates at rate 0). */
  changes(lr: number | number[]): boolean;
  /** Updates the parameters; gradients in their order, null where there is none, each to be multiplied by `scale`. */
  apply(gradients: (Tensor | null)[], scale: Tensor | null, hyper: Record<string, Tensor>): void;
  /** Metrics of its own: their names, and inside the step their values. */
  readonly metricNames: string[];
  metrics(): Tensor[];
  /** The variables to save, by name. */
  state(): [string, Variable][];
  /** The host's part of the state. */
  counters: { updates: number };
}

/** `optim.optimizer`: adamw, adam or dadam, over parameters with their names; without `groups`, all in one. */
export function buildOptimizer(
  name: string,
  parameters: [string, Variable][],
  config: AdamConfig,
  groups: Groups = { of: parameters.map(() => 0), weightDecays: [config.weight_decay] },
): Optimizer {
  const settings = { eps: 1e-8, ...config };
  if (name === "adamw") return new Adam(parameters, settings, groups, true);
  if (name === "adam") return new Adam(parameters, settings, groups, false);
  if (name === "dadam") return new DAdaptAdam(parameters, settings, groups);
  throw new UserError(`optim.optimizer=${name} is unknown; use adamw, adam or dadam`);
}

/** Adam (Kingma & Ba 2015), with weight decay decoupled (Loshchilov & Hutter 2019) or as an L2 term. */
class Adam implements Optimizer {
  readonly metricNames = [];
  readonly counters = { updates: 0 };
  private readonly parameters: [string, Variable][];
  private readonly config: Settings;
  private readonly groups: Groups;
  private readonly decoupled: boolean;
  private readonly expAvg: Variable[];
  private readonly expAvgSq: Variable[];

  constructor(parameters: [string, Variable][], config: Settings, groups: Groups, decoupled: boolean) {
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

  /**
   * Both bias corrections move into the rate and epsilon: m / (sqrt(v) + eps') * rate'. So does the rounding of 1 - beta,
   * which the kernel computes in float32 (1 - 0.999 is off by 1.3e-5 there): its m and v are ours times a constant.
   */
  nextHyper(lr: number | number[]): Record<string, number> {
    const step = ++this.counters.updates;
    const [beta1, beta2] = this.config.betas;
    const [rounding1, rounding2] = [beta1, beta2].map((beta) => (1 - Math.fround(beta)) / (1 - beta));
    const correction2 = Math.sqrt((1 - beta2 ** step) * rounding2);
    const hyper: Record<string, number> = { epsilon: this.config.eps * correction2 };
    for (const [group, decay] of this.groups.weightDecays.entries()) {
      const rate = Array.isArray(lr) ? lr[group] : lr;
      hyper[`rate.${group}`] = (rate * correction2) / ((1 - beta1 ** step) * rounding1);
      hyper[`decay.${group}`] = rate * decay;
    }
    return hyper;
  }

  apply(gradients: (Tensor | null)[], scale: Tensor | null, hyper: Record<string, Tensor>): void {
    const { epsilon } = hyper;
    const [beta1, beta2] = this.config.betas.map((beta) => tf.scalar(beta));
    const zero = tf.scalar(0);
    inTurn(withGradients(gradients), ([index, unscaled]) => {
      const [, parameter] = this.parameters[index];
      const group = this.groups.of[index];
      const rate = hyper[`rate.${group}`];
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

/**
 * D-Adaptation Adam (Defazio & Mishchenko 2023) as AudioCraft has it: no bias correction, and each update made with the
 * estimate `d` from before it.
 */
class DAdaptAdam implements Optimizer {
  readonly metricNames = ["d"];
  readonly counters = { updates: 0 };
  private readonly parameters: [string, Variable][];
  private readonly config: Settings;
  private readonly groups: Groups;
  private readonly s: Variable[];
  private readonly expAvg: Variable[];
  private readonly expAvgSq: Variable[];
  private readonly d: Variable;
  private readonly gsqWeighted: Variable;

  constructor(parameters: [string, Variable][], config: Settings, groups: Groups) {
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
    const { betas, eps, decouple = true, growth_rate: growth } = this.config;
    const decayOf = (index: number) => this.groups.weightDecays[this.groups.of[index]];
    const [beta1, beta2] = betas;
    const d = this.d.value;
    const rate = tf.mul(d, lr);
    const gsq: Tensor[] = [];
    const sksq: Tensor[] = [];
    const sk1: Tensor[] = [];
    inTurn(withGradients(gradients), ([index, unscaled]) => {
      const plain = scaled(unscaled, scale);
      const decay = decayOf(index);
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
      gsq.push(tf.sum(tf.div(tf.square(gradient), denominator)));
      sksq.push(tf.sum(tf.div(tf.square(s), denominator)));
      sk1.push(tf.sum(tf.abs(s)));
      this.expAvg[index].assign(expAvg);
      this.expAvgSq[index].assign(expAvgSq);
      this.s[index].assign(s);
    });
    const sk1Sum = total(sk1);
    const moves = tf.greater(sk1Sum, 0);
    const weighted = tf.add(
      tf.mul(this.gsqWeighted.value, beta2),
      tf.mul(total(gsq), tf.mul(tf.square(rate), 1 - beta2)),
    );
    const unbounded = tf.div(
      tf.sub(tf.div(total(sksq), 1 - beta2), weighted),
      tf.where(moves, sk1Sum, tf.scalar(1)),
    );
    const estimate = growth === undefined ? unbounded : tf.minimum(unbounded, tf.mul(d, growth));
    this.d.assign(tf.where(moves, tf.maximum(d, estimate), d));
    this.gsqWeighted.assign(tf.where(moves, weighted, this.gsqWeighted.value));
    const step = moves.toFloat();
    inTurn(withGradients(gradients), ([index]) => {
      const [, parameter] = this.parameters[index];
      const direction = tf.div(this.expAvg[index].value, tf.add(tf.sqrt(this.expAvgSq[index].value), eps));
      const shrink = tf.mul(parameter.value, tf.mul(rate, decouple ? decayOf(index) : 0));
      subtract(parameter, tf.mul(tf.add(shrink, direction), step));
    });
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

/**
 * Global 2-norm of all gradients, and what to multiply them by so that it is at most `maxNorm`: min(1, maxNorm / (norm +
 * 1e-6)) (torch.clip_grad_norm_). No or zero `maxNorm`: null, no clipping.
 */
export function clipByGlobalNorm(gradients: (Tensor | null)[], maxNorm: number | null) {
  const norm = globalNorm(gradients);
  const scale = maxNorm ? (tf.minimum(tf.div(maxNorm, tf.add(norm, 1e-6)), 1) as Tensor) : null;
  return { norm, scale };
}

/** The 2-norm of all gradients together. */
export function globalNorm(gradients: (Tensor | null)[]): Tensor {
  return tf.sqrt(total(withGradients(gradients).map(([, gradient]) => tf.mul(l2Loss(gradient), 2))));
}

/** The gradients that there are, with the indexes of their parameters. */
function withGradients(gradients: (Tensor | null)[]): [number, Tensor][] {
  return [...gradients.entries()].filter((entry): entry is [number, Tensor] => entry[1] !== null);
}

function scaled(gradient: Tensor, scale: Tensor | null): Tensor {
  return scale === null ? gradient : tf.mul(gradient, scale);
}

/** variable -= amount, in place. */
function subtract(variable: Variable, amount: Tensor): void {
  runUpdate("AssignSubVariableOp", [variable, amount], { dtype: attr.type("float32") });
}

/** sum(x^2) / 2, in one pass. */
function l2Loss(x: Tensor): Tensor {
  return runOp("L2Loss", [x], { T: attr.type("float32") })[0];
}

function total(scalars: Tensor[]): Tensor {
  return tf.addN(scalars as never[]) as Tensor;
}
