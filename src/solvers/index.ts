/** Solvers, with those of this program registered. */
import { CompressionSolver } from "./compression.ts";
import { MusicGenSolver } from "./musicgen.ts";
import { registerSolver } from "./registry.ts";

registerSolver("musicgen", MusicGenSolver.build);
registerSolver("compression", CompressionSolver.build);
registerSolver("lm", MusicGenSolver.build); // the name in old configs

export { CompressionSolver } from "./compression.ts";
export { MusicGenSolver } from "./musicgen.ts";
export { buildSolver, registerSolver } from "./registry.ts";
export { Solver } from "./solver.ts";
