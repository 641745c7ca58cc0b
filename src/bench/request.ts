/** What a measuring process of ours is asked for, on its command line as JSON. */
import type { WeightType } from "../nn/weight_types.ts";
import type { Repeats } from "./measurement.ts";
import type { ModelSize, Precision } from "./sizes.ts";

export const MEASUREMENTS = [
  "train",
  "generate",
  "codec",
  "t5",
  "data",
  "start",
  "config",
  "hardware",
] as const;

export interface Request extends Repeats {
  what: (typeof MEASUREMENTS)[number];
  precision: Precision;
  /** Of the language model, for training and generation. */
  model: ModelSize;
  /** Activation checkpointing in training: `transformer_lm.checkpointing`, "none" by default. */
  checkpointing?: string;
  /** Frames to generate. */
  frames: number;
  /** How the weights are kept for it. */
  weights?: WeightType;
  /** Leave out how soon audio comes, which needs a codec beside. */
  onlyGenerate?: boolean;
  data: DataRequest;
}

export interface DataRequest {
  manifest: string;
  workers: number;
  /** Per run. */
  segments: number;
}
