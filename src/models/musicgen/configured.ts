/** How a run's config says that audio is to be generated. */
import type { MusicGenConfig } from "../../config/schema.ts";
import type { GenerationParams } from "./params.ts";

/** The parameters in `generate.lm`, `classifier_free_guidance` and `transformer_lm`, without the duration. */
export function configuredParams(cfg: MusicGenConfig): Omit<GenerationParams, "duration" | "extendStride"> {
  const { lm } = cfg.generate;
  return {
    useSampling: lm.use_sampling,
    temperature: lm.temp,
    topK: lm.top_k,
    topP: lm.top_p,
    cfgCoef: lm.cfg_coef ?? cfg.classifier_free_guidance.inference_coef,
    cfgCoefBeta: lm.cfg_coef_beta ?? null,
    twoStepCfg: cfg.transformer_lm.two_step_cfg,
  };
}
