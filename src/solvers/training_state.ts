/** Everything by which training goes on where it stopped: what a checkpoint of it holds, and how it comes back. */
import type { TensorSource } from "../checkpoint/safetensors.ts";
import type { ConditioningProvider } from "../models/conditioners/provider.ts";
import type { Parameter } from "../nn/index.ts";
import type { ExponentialMovingAverage, LossScaler, Optimizer } from "../optim/index.ts";
import type { Variable } from "../runtime/index.ts";
import type { BestState } from "./best_state.ts";
import type { CheckpointContent } from "./checkpoint.ts";

/** Draws from a random stream of its own. */
interface Random {
  state(): number[];
  restore(state: readonly number[]): void;
}

export interface StateParts {
  /** Trained and frozen ones. */
  parameters: [string, Parameter][];
  optimizer: Optimizer;
  ema: ExponentialMovingAverage | null;
  scaler: LossScaler | null;
  best: BestState;
  /** By the names that checkpoints have for their random states. */
  dropouts: { cfg_dropout: Random; attribute_dropout: Random };
  conditionProvider: ConditioningProvider;
}

/** The part that lives on the host. */
interface HostState {
  updates: number;
  optimizer: Optimizer["counters"];
  ema: { count: number } | null;
  scaler?: LossScaler["state"] | null;
  random: { cfg_dropout: number[]; attribute_dropout: number[]; conditioners: Record<string, number[]> };
}

export class TrainingState {
  private readonly parts: StateParts;

  constructor(parts: StateParts) {
    this.parts = parts;
  }

  /** The state of now, after so many `updates`: those that follow do not change it. */
  save(updates: number): CheckpointContent {
    const { optimizer, ema, scaler, best, dropouts, conditionProvider } = this.parts;
    const host: HostState = {
      updates,
      optimizer: { ...optimizer.counters },
      ema: ema && { count: ema.count },
      scaler: scaler && { ...scaler.state },
      random: {
        cfg_dropout: dropouts.cfg_dropout.state(),
        attribute_dropout: dropouts.attribute_dropout.state(),
        conditioners: conditionProvider.randomStates(),
      },
    };
    const tensors = this.variables().map(([name, variable]) => snapshot(name, variable));
    return { tensors: [...tensors, ...best.tensors()], host: { ...host } };
  }

  /** Returns how many updates had been made. */
  load({ host, reader }: Required<CheckpointContent>): number {
    const { optimizer, ema, scaler, best, dropouts, conditionProvider } = this.parts;
    for (const [name, variable] of this.variables()) variable.load(reader.readFloat32(name));
    best.load(reader);
    const state = host as unknown as HostState;
    Object.assign(optimizer.counters, state.optimizer);
    if (ema && state.ema) ema.count = state.ema.count;
    if (scaler && state.scaler) scaler.state = state.scaler;
    dropouts.cfg_dropout.restore(state.random.cfg_dropout);
    dropouts.attribute_dropout.restore(state.random.attribute_dropout);
    conditionProvider.restoreRandomStates(state.random.conditioners);
    return state.updates;
  }

  /** By their names in checkpoints. */
  private variables(): [string, Variable][] {
    const { parameters, optimizer, ema } = this.parts;
    const named = (prefix: string, variables: [string, Variable][]) =>
      variables.map(([name, variable]): [string, Variable] => [prefix + name, variable]);
    return [
      ...named("model.", parameters),
      ...named("optimizer.", optimizer.state()),
      ...named("ema.model.", ema?.averages ?? []),
    ];
  }
}

function snapshot(name: string, variable: Variable): TensorSource {
  const { take, release } = variable.snapshot();
  return { name, dtype: "F32", shape: variable.shape, data: take, release };
}
