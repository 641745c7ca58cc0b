/** Options of a MusicGen run that are refused or ignored, said before anything heavy starts. */
import type { MusicGenConfig } from "../config/schema.ts";
import { UserError } from "../errors.ts";
import { checkMetrics } from "../metrics/build.ts";
import { checkCacheOptions } from "./token_cache.ts";

/** Throws a UserError for options that are not built or make no sense. */
export function checkOptions(cfg: MusicGenConfig): void {
  refuseUnbuilt(cfg);
  checkMetrics(cfg);
  checkCacheOptions(cfg);
  const { stage_samples: limit = "auto", dataset, generate } = cfg;
  if (limit !== null && limit !== "auto" && !(Number.isInteger(limit) && (limit as number) > 0)) {
    throw new UserError(`stage_samples=${limit}: use auto, a number of samples, or null`);
  }
  const { betas } = cfg.optim.adam;
  if (betas.length !== 2) throw new UserError(`optim.adam.betas=[${betas}]: two numbers are needed`);
  const { prompted_samples, prompt_duration, gen_duration } = generate.lm;
  const segment = (dataset.generate.segment_duration ?? dataset.segment_duration) as number | null;
  if (segment === null && gen_duration === null)
    throw new UserError("generate.lm.gen_duration is needed, as dataset.segment_duration is null");
  const duration = gen_duration ?? segment!;
  if (prompted_samples && (prompt_duration ?? duration / 4) >= duration) {
    throw new UserError(
      `generate.lm.prompt_duration=${prompt_duration} must be below the ${duration} s that are generated`,
    );
  }
}

/** Options that the config has and this solver does not. */
function refuseUnbuilt(cfg: MusicGenConfig): void {
  const audio = cfg.generate.audio as Record<string, unknown>;
  const unbuilt: [boolean, string][] = [
    [
      audio.sample_rate != null && audio.sample_rate !== cfg.sample_rate,
      "generate.audio.sample_rate other than sample_rate",
    ],
  ];
  const found = unbuilt.find(([used]) => used);
  if (found) throw new UserError(`${found[1]} is not built`);
}
