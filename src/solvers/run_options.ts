/** Options that the runs of all solvers have, checked before anything heavy starts. */
import type { RunConfig } from "../config/index.ts";
import { UserError } from "../errors.ts";

/** Throws a UserError for values that make no sense, or that no solver has. */
export function checkRunOptions(cfg: RunConfig): void {
  const { stage_samples: limit = "auto", optim, generate } = cfg;
  if (generate.audio.sample_rate !== null && generate.audio.sample_rate !== cfg.sample_rate)
    throw new UserError("generate.audio.sample_rate other than sample_rate is not built");
  if (limit !== null && limit !== "auto" && !(Number.isInteger(limit) && (limit as number) > 0)) {
    throw new UserError(`stage_samples=${limit}: use auto, a number of samples, or null`);
  }
  const { betas } = optim.adam;
  if (betas.length !== 2) throw new UserError(`optim.adam.betas=[${betas}]: two numbers are needed`);
}
