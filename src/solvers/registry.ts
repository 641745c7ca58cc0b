/** Solvers by the name that `solver` has in the config. */
import type { RunConfig } from "../config/index.ts";
import { UserError } from "../errors.ts";
import type { Run } from "./run.ts";
import type { Solver } from "./solver.ts";

/** Makes a solver out of a config that has been checked against the schema of its kind. */
type Factory<C extends RunConfig> = (cfg: C, run: Run) => Promise<Solver<C>>;

const factories = new Map<string, Factory<RunConfig>>();

/** Makes `solver: name` available. Replaces an earlier one of that name. */
export function registerSolver<C extends RunConfig>(name: string, factory: Factory<C>): void {
  factories.set(name, factory as unknown as Factory<RunConfig>);
}

/** Builds the solver that the config names, with everything that it needs. */
export function buildSolver(cfg: RunConfig, run: Run): Promise<Solver> {
  const factory = factories.get(cfg.solver);
  if (factory) return factory(cfg, run);
  throw new UserError(`solver ${cfg.solver} is unknown; known: ${[...factories.keys()].join(", ")}`);
}
