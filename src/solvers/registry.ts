/** Solvers by the name that `solver` has in the config. */
import type { MusicGenConfig } from "../config/schema.ts";
import { UserError } from "../errors.ts";
import type { Run } from "./run.ts";
import type { Solver } from "./solver.ts";

type Factory = (cfg: MusicGenConfig, run: Run) => Promise<Solver>;

const factories = new Map<string, Factory>();

/** Makes `solver: name` available. Replaces an earlier one of that name. */
export function registerSolver(name: string, factory: Factory): void {
  factories.set(name, factory);
}

/** Builds the solver that the config names, with everything that it needs. */
export function buildSolver(cfg: MusicGenConfig, run: Run): Promise<Solver> {
  const factory = factories.get(cfg.solver);
  if (factory) return factory(cfg, run);
  throw new UserError(`solver ${cfg.solver} is unknown; known: ${[...factories.keys()].join(", ")}`);
}
