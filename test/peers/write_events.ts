/**
 * Writes a small run's event files and what they hold, for `read_events.py`:
 * `node --import tsx write_events.ts FOLDER` makes `FOLDER/tensorboard/` and `FOLDER/expected.json`.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createLogger } from "../../src/log/logger.ts";
import { Trackers } from "../../src/log/trackers/build.ts";
import { writeSample } from "../../src/solvers/samples.ts";
import { tellEarlierSamples, trackedSample } from "../../src/solvers/tracked_samples.ts";

const folder = process.argv[2];
if (!folder) throw new Error("usage: node --import tsx write_events.ts FOLDER");
mkdirSync(folder, { recursive: true });

const sampleRate = 16000;
const audio = [0.5, -0.25].map((level) => new Float32Array(sampleRate / 2).fill(level));
const prompt = audio.map((channel) => channel.slice(0, 800));
const samples = join(folder, "samples");
const trackers = () =>
  new Trackers(
    {
      logging: { log_tensorboard: true, log_wandb: false },
      tensorboard: { with_media_logging: true, sub_dir: null },
      wandb: {},
    },
    { signature: "01234567", folder, config: { optim: { lr: 1e-3 } }, log: createLogger({ terminal: null }) },
    [{ train: { ce: 5.5 }, valid: { ce: 5.625, ppl: 277.27 } }],
  );

// The first epoch is told by the run that trained it, and again by the one that goes on.
let tag = "";
for (const epoch of [1, 2]) {
  const run = trackers();
  await tellEarlierSamples(run, samples, epoch - 1);
  const { sample, clip } = await writeSample(
    samples,
    epoch,
    {
      index: 0,
      seed: 0,
      audio,
      sampleRate,
      conditions: { description: "slow piano" },
      prompt,
      reference: null,
      generationArgs: {},
    },
    { format: "mp3", levels: { strategy: "clip" } },
  );
  run.sample(await trackedSample(sample, clip), epoch);
  if (epoch === 2) run.metrics("train", { ce: 5.125 }, 2);
  tag = `generate/${sample.id}`;
}

const sound = { sample_rate: sampleRate, channels: 2, frames: sampleRate / 2, seconds: 0.5 };
const text = "description: slow piano  \ncontinues a prompt of 0.1 s";
const bothEpochs = <T>(value: T) => [1, 2].map((step) => ({ step, ...value }));
const expected = {
  scalars: {
    "train/ce": [
      [1, 5.5],
      [2, 5.125],
    ],
    "valid/ce": [[1, 5.625]],
    "valid/ppl": [[1, 277.27]],
    "hparams/metrics": [[0, -1]],
  },
  audio: { [tag]: bothEpochs(sound) },
  images: { [`${tag}/spectrogram`]: bothEpochs({ width: 400, height: 256 }) },
  texts: { [`${tag}/description`]: [1, 2].map((step) => [step, text]) },
};
writeFileSync(join(folder, "expected.json"), JSON.stringify(expected, null, 2));
