/** A plugin for `npm run train`: notes when the first training step was done, in the file that the environment names, and ends the run. */
import { writeFileSync } from "node:fs";
import { LMStep } from "../../solvers/lm_step.ts";

export const FIRST_STEP_FILE = "MUSICGEN_BENCH_FIRST_STEP";

const file = process.env[FIRST_STEP_FILE];
if (file) {
  const { train } = LMStep.prototype;
  LMStep.prototype.train = function (...args) {
    train.apply(this, args);
    writeFileSync(file, String((performance.timeOrigin + performance.now()) / 1000));
    process.exit(0);
  };
}
