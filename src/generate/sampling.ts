/** How audio is sampled: as the command line asks, and where it asks nothing, as the model's config says. */
import type { MusicGenConfig } from "../config/schema.ts";
import { configuredParams } from "../models/musicgen/configured.ts";
import type { GenerateOptions } from "../models/musicgen/params.ts";
import type { Options } from "./arguments.ts";

export function samplingOf(cfg: MusicGenConfig, options: Options): GenerateOptions {
  const configured = configuredParams(cfg);
  return {
    useSampling: options.use_sampling ?? configured.useSampling,
    temperature: options.temperature ?? configured.temperature,
    topK: options.top_k ?? configured.topK,
    topP: options.top_p ?? configured.topP,
    cfgCoef: options.cfg_coef ?? configured.cfgCoef,
    cfgCoefBeta: options.cfg_coef_beta ?? configured.cfgCoefBeta,
    twoStepCfg: options.two_step_cfg ?? configured.twoStepCfg,
  };
}
