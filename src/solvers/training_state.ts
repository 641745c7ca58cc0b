/** Everything by which training goes on where it stopped: what a checkpoint of it holds, and how it comes back. */
import type { TensorSource } from "../checkpoint/safetensors.ts";
import type { Parameter } from "../nn/index.ts";
import type { ExponentialMovingAverage, LossScaler, Optimizer } from "../optim/index.ts";
import type { Variable } from "../runtime/index.ts";
import type { BestState } from "./best_state.ts";
import type { CheckpointContent } from "./checkpoint.ts";

/** Draws from random streams of its own; their state is anything that JSON can hold. */
interface Random {
  state(): unknown;
  restore(state: never): void;
}

/** Something else that learns beside the model, as discriminators do. */
export interface OtherLearner {
  parameters: [string, Variable][];
  optimizer: Optimizer;
}

export interface StateParts {
  /** Trained and frozen ones. */
  parameters: [string, Parameter][];
  optimizer: Optimizer;
  ema: ExponentialMovingAverage | null;
  scaler?: LossScaler | null;
  best?: BestState;
  /** By the names that checkpoints have for their random states. */
  random?: Record<string, Random>;
  /** By the prefixes that checkpoints have for their tensors: `NAME.adversary.*`, `NAME.optimizer.*`. */
  adversaries?: Record<string, OtherLearner>;
  /** What else changes with training, by its names in checkpoints. */
  buffers?: [string, Variable][];
}

/** The part that lives on the host. */
interface HostState {
  updates: number;
  optimizer: Optimizer["counters"];
  ema: { count: number } | null;
  scaler?: LossScaler["state"] | null;
  random: Record<string, unknown>;
  adversaries?: Record<string, Optimizer["counters"]>;
}

export class TrainingState {
  private readonly parts: StateParts;

  constructor(parts: StateParts) {
    this.parts = parts;
  }

  /** The state of now, after so many `updates`: those that follow do not change it. */
  save(updates: number): CheckpointContent {
    const { optimizer, ema, scaler = null, best, random = {}, adversaries } = this.parts;
    const host: HostState = {
      updates,
      optimizer: { ...optimizer.counters },
      ema: ema && { count: ema.count },
      scaler: scaler && { ...scaler.state },
      random: mapped(random, (stream) => stream.state()),
      ...(adversaries && {
        adversaries: mapped(adversaries, (learner) => ({ ...learner.optimizer.counters })),
      }),
    };
    const tensors = this.variables().map(([name, variable]) => snapshot(name, variable));
    return { tensors: [...tensors, ...(best?.tensors() ?? [])], host: { ...host } };
  }

  /** Returns how many updates had been made. */
  load({ host, reader }: Required<CheckpointContent>): number {
    const { optimizer, ema, scaler = null, best, random = {}, adversaries = {} } = this.parts;
    for (const [name, variable] of this.variables()) variable.load(reader.readFloat32(name));
    best?.load(reader);
    const state = host as unknown as HostState;
    Object.assign(optimizer.counters, state.optimizer);
    if (ema && state.ema) ema.count = state.ema.count;
    if (scaler && state.scaler) scaler.state = state.scaler;
    for (const [name, stream] of Object.entries(random)) stream.restore(state.random[name] as never);
    for (const [name, learner] of Object.entries(adversaries))
      Object.assign(learner.optimizer.counters, state.adversaries?.[name]);
    return state.updates;
  }

  /** By their names in checkpoints. */
  private variables(): [string, Variable][] {
    const { parameters, optimizer, ema, adversaries = {}, buffers = [] } = this.parts;
    const named = (prefix: string, variables: [string, Variable][]) =>
      variables.map(([name, variable]): [string, Variable] => [prefix + name, variable]);
    return [
      ...named("model.", parameters),
      ...named("optimizer.", optimizer.state()),
      ...named("ema.model.", ema?.averages ?? []),
      ...Object.entries(adversaries).flatMap(([name, learner]) => [
        ...named(`${name}.adversary.`, learner.parameters),
        ...named(`${name}.optimizer.`, learner.optimizer.state()),
      ]),
      ...buffers,
    ];
  }
}

function mapped<T, U>(record: Record<string, T>, f: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, f(value)]));
}

function snapshot(name: string, variable: Variable): TensorSource {
  const { take, release } = variable.snapshot();
  return { name, dtype: "F32", shape: variable.shape, data: take, release };
}
