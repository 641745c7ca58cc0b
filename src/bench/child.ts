/** A measuring process of ours: `node --import tsx src/bench/child.ts REQUEST` measures one thing and prints a measurement. */
import { configureFrom } from "../runtime/options.ts";
import type { Measurement } from "./measurement.ts";
import type { Request } from "./request.ts";

type Measure = (request: Request) => Promise<Measurement>;

/** Loaded one by one: what a measurement does not need must not be in its memory. */
const MEASURES: Record<Request["what"], () => Promise<Measure>> = {
  train: async () => (await import("./measure/train_step.ts")).measureTrainStep,
  generate: async () => (await import("./measure/generation.ts")).measureGeneration,
  codec: async () => (await import("./measure/codec.ts")).measureCodec,
  t5: async () => (await import("./measure/t5.ts")).measureT5,
  data: async () => (await import("./measure/data.ts")).measureData,
  start: async () => (await import("./measure/start.ts")).measureStart,
  config: async () => (await import("./measure/config.ts")).measureConfig,
  hardware: async () => (await import("./measure/hardware.ts")).measureHardware,
};

const request = JSON.parse(process.argv[2]) as Request;
// as a run does whose config has the same
if (request.what === "train")
  configureFrom({ device: "cpu", transformer_lm: { checkpointing: request.checkpointing ?? "none" } });
const measure = await MEASURES[request.what]();
const measurement = await measure(request);
process.stdout.write(`\n${JSON.stringify(measurement)}\n`, () => process.exit(0));
