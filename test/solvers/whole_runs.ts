/** Runs of the program as a user starts them, in a folder of their own, on a data set of a few clips. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { writeWav } from "../../src/data/audio/write_wav.ts";
import { describeClip } from "../../src/data/example/description.ts";
import { exampleSpecs } from "../../src/data/example/specs.ts";
import { synthesizeClip } from "../../src/data/example/synthesize.ts";

const launcher = fileURLToPath(new URL("../../scripts/launch.mjs", import.meta.url));
export const folder = mkdtempSync(join(tmpdir(), "musicgen-run-"));
const data = join(folder, "data");

/** A model of a few thousand weights, two epochs of six updates. */
export const small = [
  "transformer_lm.dim=32",
  "transformer_lm.num_layers=1",
  "transformer_lm.dropout=0.1",
  "dataset.batch_size=2",
  "dataset.segment_duration=1",
  "dataset.num_workers=0",
  "dataset.valid.num_samples=4",
  "dataset.generate.num_samples=1",
  "optim.epochs=2",
  "optim.updates_per_epoch=6",
  "optim.ema.updates=2",
  "optim.lr=1e-2",
  "schedule.cosine.warmup=2",
  ...["train", "valid", "evaluate", "generate"].map((split) => `datasource.${split}=${data}`),
];

export interface Result {
  code: number | null;
  output: string;
}

export interface RunOptions {
  onOutput?: (output: string, kill: (signal: NodeJS.Signals) => void) => void;
  /** Shell commands to run before. */
  shell?: string;
}

/** Runs a command of the program with its own experiments folder; `onOutput` sees all output so far. */
export function run(
  outputs: string,
  command: string,
  args: string[],
  { onOutput, shell }: RunOptions = {},
): Promise<Result> {
  const env = { ...process.env, AUDIOCRAFT_DORA_DIR: join(folder, outputs), NO_COLOR: "1" };
  const argv = [launcher, command, ...args];
  const child = shell
    ? spawn("bash", ["-c", `${shell}; exec "$0" "$@"`, process.execPath, ...argv], { env })
    : spawn(process.execPath, argv, { env });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output += chunk;
      onOutput?.(output, (signal) => child.kill(signal));
    });
  }
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, output })));
}

export function experiment(outputs: string): string {
  const xps = join(folder, outputs, "xps");
  return join(xps, readdirSync(xps)[0]);
}

/** Makes the data set; it is removed with everything else after the tests. */
export function makeData(): void {
  mkdirSync(data);
  const rows = exampleSpecs()
    .filter((_, index) => index % 60 === 0)
    .map((spec) => {
      const clip = synthesizeClip({ ...spec, sampleRate: 16000, channels: 1 });
      const path = join(data, `${spec.id}.wav`);
      writeWav(path, clip);
      writeFileSync(path.replace(".wav", ".json"), JSON.stringify(describeClip(spec)));
      const duration = clip.samples[0].length / clip.sampleRate;
      return JSON.stringify({
        path,
        duration,
        sample_rate: 16000,
        amplitude: null,
        weight: null,
        info_path: null,
      });
    });
  writeFileSync(join(data, "data.jsonl"), `${rows.join("\n")}\n`);
}

after(() => rmSync(folder, { recursive: true, force: true }));
