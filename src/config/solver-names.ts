/** Names that `solver` may have: those of this program, and AudioCraft's others, whose configs are here too. */
import { UserError } from "../errors.ts";
import type { ComposedConfig } from "./config.ts";

export const BUILT_SOLVERS = ["musicgen", "lm", "compression"] as const; // lm: musicgen's name in old configs

export const UNBUILT_SOLVERS = [
  "audiogen",
  "sound_lm",
  "magnet",
  "audio_magnet",
  "diffusion",
  "watermarking",
  "jasco",
];

/** The solver of a config. @throws UserError when there is none of that name, unless a plugin may bring it */
export function solverOf(config: ComposedConfig): string {
  const { solver, plugins = [] } = config.toObject({ keepMissing: true }) as {
    solver: string;
    plugins?: string[];
  };
  // a plugin may bring any solver; the registry knows once it is loaded
  if (plugins.length === 0 && !(BUILT_SOLVERS as readonly string[]).includes(solver)) {
    const state = UNBUILT_SOLVERS.includes(solver) ? "not built" : "unknown";
    const built = BUILT_SOLVERS.filter((name) => name !== "lm").join(" and ");
    throw new UserError(
      `solver ${solver} is ${state}; built: ${built} (plugins=[FILE] loads solvers of your own)`,
    );
  }
  return solver;
}
