/**
 * Optimizers as updates of variables in place. `nextHyper(lr)` gives, on the host and in double precision, the numbers of the
 * next update; `apply` uses them as tensors inside the jitted step.
 */
import { UserError } from "../errors.ts";
import type { Tensor, Variable } from "../runtime/index.ts";
import { Adam } from "./adam.ts";
import { DAdaptAdam } from "./dadapt_adam.ts";

export interface AdamConfig {
  betas: [number, number];
  weight_decay: number;
  eps: number;
  /** D-Adaptation: decoupled weight decay (default), or as an L2 term. */
  decouple?: boolean;
  /** D-Adaptation: how much the estimate may grow in an update; no bound by default. */
  growth_rate?: number;
  /** D-Adaptation: the first estimate, 1e-6 by default. */
  d0?: number;
}

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
  if (name === "adamw") return new Adam(parameters, config, groups, true);
  if (name === "adam") return new Adam(parameters, config, groups, false);
  if (name === "dadam") return new DAdaptAdam(parameters, config, groups);
  throw new UserError(`optim.optimizer=${name} is unknown; use adamw, adam or dadam`);
}
