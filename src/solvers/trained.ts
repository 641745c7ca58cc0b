/** A trained model out of a checkpoint alone: the config inside says how to build it. */
import type { MusicGenConfig } from "../config/schema.ts";
import { buildCompressionModel, buildLM, trainedDuration } from "../models/builders.ts";
import { MusicGen } from "../models/musicgen.ts";
import { loadState } from "../nn/index.ts";
import { openTrained } from "./checkpoint.ts";

export interface LoadedMusicGen {
  musicgen: MusicGen;
  cfg: MusicGenConfig;
  signature: string;
  epochs: number;
}

/** Builds codec and language model as the checkpoint's config says and loads its best weights. */
export async function loadMusicGen(path: string): Promise<LoadedMusicGen> {
  const trained = openTrained(path);
  try {
    const { cfg, signature, epochs } = trained;
    const codec = await buildCompressionModel(cfg);
    const lm = await buildLM(cfg);
    loadState(lm, trained.weights);
    return {
      musicgen: new MusicGen(lm, codec, trainedDuration(cfg)),
      cfg,
      signature,
      epochs,
    };
  } finally {
    trained.close();
  }
}
