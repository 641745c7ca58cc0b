/** A checkpoint of a language model before its first step, for what is tried or measured without training. */
import { writeSafetensors } from "../checkpoint/safetensors.ts";
import { asMusicGenConfig } from "../config/index.ts";
import { composeTrainConfig } from "../config/train-config.ts";
import { buildLM } from "../models/builders.ts";

/** Composes `overrides`, draws the weights from its seed, and writes them with the config to `path`. */
export async function writeUntrainedCheckpoint(path: string, overrides: string[]): Promise<void> {
  const config = composeTrainConfig(overrides);
  const lm = await buildLM(asMusicGenConfig(config));
  const tensors = lm.namedParameters().map(([name, parameter]) => ({
    name: `model.${name}`,
    dtype: "F32" as const,
    shape: parameter.shape,
    data: () => parameter.read(),
  }));
  await writeSafetensors(path, tensors, {
    format: "musicgen-tfjs",
    "xp.cfg": config.toYaml({ resolve: false }),
    "xp.sig": "0badcafe",
  });
}
