/** The keys of a run that trains a codec. Key names are AudioCraft's. */
import type { ComposedConfig } from "./config.ts";
import { evaluateKeys, generateKeys, probability, runKeys } from "./run-schema.ts";
import { asMusicGenConfig, type MusicGenConfig } from "./schema.ts";
import {
  about,
  anything,
  bool,
  float,
  type Infer,
  list,
  nullable,
  object,
  oneOf,
  record,
  string,
} from "./schema-types.ts";
import { solverOf } from "./solver-names.ts";
import { validated } from "./validate.ts";

const section = () => record(anything()); // checked by what is built from it

const compression = object(
  {
    ...runKeys,
    losses: about(
      "weights of the losses by name; 0: it is only measured; null: not even that",
      record(nullable(float({ min: 0 }))),
    ),
    balancer: object({
      balance_grads: about("make the weights the shares that the losses have in the gradient", bool()),
      total_norm: float({ min: 0 }),
      ema_decay: probability(),
      per_batch_item: bool(),
    }),
    adversarial: object({
      every: about("the discriminators learn in one of so many updates, on average", float({ min: 1 })),
      adversaries: about("discriminators: msstftd, mpd, msd", list(string())),
      adv_loss: oneOf("hinge", "hinge2", "mse"),
      feat_loss: nullable(oneOf("l1", "l2")),
    }),
    compression_model: oneOf("encodec"),
    encodec: section(),
    seanet: section(),
    rvq: section(),
    l1: section(),
    l2: section(),
    mel: section(),
    msspec: section(),
    mrstft: section(),
    sisnr: section(),
    msstftd: section(),
    mpd: section(),
    msd: section(),
    metrics: section(),
    generate: object({ ...generateKeys, lm: section() }),
    evaluate: object(evaluateKeys),
  },
  { open: true },
);

/** The known keys of a compression run. */
export const compressionSchema = compression;

/** A validated compression config: plain values under AudioCraft's key names. */
export type CompressionConfig = Infer<typeof compression>;

/** The config of a run of any solver. */
export type TrainConfig = MusicGenConfig | CompressionConfig;

/** Checks a config against the schema of its solver. @throws UserError that lists what is wrong */
export function asTrainConfig(config: ComposedConfig): TrainConfig {
  return solverOf(config) === "compression" ? validated(config, compression) : asMusicGenConfig(config);
}
