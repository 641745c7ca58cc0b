/** Options of a MusicGen run that are refused or ignored, said before anything heavy starts. */
import type { MusicGenConfig } from "../config/schema.ts";
import { UserError } from "../errors.ts";
import { checkMetrics } from "../metrics/build.ts";
import { checkRunOptions } from "./run_options.ts";
import { checkCacheOptions } from "./token_cache.ts";

/** Throws a UserError for options that are not built or make no sense. */
export function checkOptions(cfg: MusicGenConfig): void {
  checkRunOptions(cfg);
  checkMetrics(cfg);
  checkCacheOptions(cfg);
  const { dataset, generate } = cfg;
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
