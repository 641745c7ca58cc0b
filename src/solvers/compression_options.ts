/** Options of a compression run that are refused, said before anything heavy starts. */
import type { CompressionConfig } from "../config/index.ts";
import { UserError } from "../errors.ts";
import { checkRunOptions } from "./run_options.ts";

/** Throws a UserError for options that are not built or make no sense. */
export function checkCompressionOptions(cfg: CompressionConfig): void {
  checkRunOptions(cfg);
  const { optim, adversarial, losses, evaluate } = cfg;
  const unbuilt: [boolean, string][] = [
    [cfg.autocast, "autocast=true for a codec (use autocast=false)"],
    [cfg.dtype !== "float32", `dtype=${cfg.dtype}`],
    [cfg.fsdp.use, "fsdp.use=true"],
    [(optim.accumulate ?? 1) > 1, `optim.accumulate=${optim.accumulate} for a codec`],
    [optim.skip_nonfinite ?? false, "optim.skip_nonfinite=true for a codec"],
    [
      evaluate.metrics.visqol ?? false,
      "evaluate.metrics.visqol=true, which is a program of its own; evaluate.metrics.sisnr=true measures here",
    ],
  ];
  const found = unbuilt.find(([used]) => used);
  if (found) throw new UserError(`${found[1]} is not built`);
  const metric = Object.entries(evaluate.metrics).find(
    ([name, used]) => used && !["base", "sisnr"].includes(name),
  );
  if (metric) throw new UserError(`evaluate.metrics.${metric[0]} is none of a codec's: it has sisnr`);
  if (adversarial.adversaries.length === 0 && ((losses.adv ?? 0) > 0 || (losses.feat ?? 0) > 0)) {
    throw new UserError(
      "losses.adv and losses.feat need a discriminator: adversarial.adversaries=[msstftd], or both 0",
    );
  }
  if (new Set(adversarial.adversaries).size < adversarial.adversaries.length)
    throw new UserError(`adversarial.adversaries=[${adversarial.adversaries}] has one twice`);
}
