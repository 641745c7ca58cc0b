/** A MusicGen of a few thousand random weights on the debug codec, for tests of what is around it. */
import { composeTrainConfig } from "../src/config/index.ts";
import { asMusicGenConfig } from "../src/config/schema.ts";
import { buildCompressionModel, buildLM, trainedDuration } from "../src/models/builders.ts";
import { MusicGen } from "../src/models/musicgen.ts";
import { writeUntrainedCheckpoint } from "../src/solvers/untrained.ts";

/** One layer, trained on "segments" of one second: 25 frames. */
const SMALL = [
  "compression_model_checkpoint=//pretrained/debug_compression_model",
  "transformer_lm.card=400",
  "transformer_lm.dim=32",
  "transformer_lm.num_layers=1",
  "dataset.segment_duration=1",
  "seed=7",
];

/** Texts and melodies as conditions, as musicgen-melody has them, with a table of words in the place of T5. */
export const MELODY = [
  "conditioner=chroma2music",
  "conditioners.description.model=lut",
  "+conditioners.description.lut={n_bins: 64, dim: 16, tokenizer: whitespace, pad_idx: 0}",
];

export async function tinyMusicGen(overrides: string[] = []): Promise<MusicGen> {
  const cfg = asMusicGenConfig(composeTrainConfig([...SMALL, ...overrides]));
  return new MusicGen(await buildLM(cfg), await buildCompressionModel(cfg), trainedDuration(cfg));
}

/** The same as a checkpoint. */
export async function writeTinyCheckpoint(path: string, overrides: string[] = []): Promise<void> {
  await writeUntrainedCheckpoint(path, [...SMALL, ...overrides]);
}
