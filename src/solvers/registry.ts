/** Solvers by the name that `solver` has in the config. */
import type { MusicGenConfig } from "../config/schema.ts";
import { UserError } from "../errors.ts";
import type { Run } from "./run.ts";
import type { Solver } from "./solver.ts";

type Factory = (cfg: MusicGenConfig, run: Run) => Promise<Solver>;

const factories = new Map<string, Factory>();

/** Solvers of AudioCraft that this program knows of, but does not have. */
const notBuilt = [
  "compression",
  "audiogen",
  "sound_lm",
  "magnet",
  "audio_magnet",
  "diffusion",
  "watermarking",
  "jasco",
];

/** Makes `solver: name` available. Replaces an earlier one of that name. */
export function registerSolver(name: string, factory: Factory): void {
  factories.set(name, factory);
}

/** Builds the solver that the config names, with everything that it needs. */
export function buildSolver(cfg: MusicGenConfig, run: Run): Promise<Solver> {
  const factory = factories.get(cfg.solver);
  if (factory) return factory(cfg, run);
  if (notBuilt.includes(cfg.solver))
    throw new UserError(`solver ${cfg.solver} is not built yet; built: ${[...factories.keys()].join(", ")}`);
  throw new UserError(`solver ${cfg.solver} is unknown; known: ${[...factories.keys()].join(", ")}`);
}
