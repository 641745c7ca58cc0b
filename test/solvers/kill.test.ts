/** SIGKILL at any moment costs time and nothing else. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import { TorchGenerator } from "../../src/random/mt19937.ts";
import { experiment, makeData, run, small } from "./whole_runs.ts";

const kills = 20;

const args = [
  ...small,
  "optim.updates_per_epoch=60",
  "optim.accumulate=2",
  "checkpoint.every_updates=3",
  "+attribute_dropout.text.description=0.3",
  "autocast=true",
  "dataset.num_workers=1",
  "conditioners.description.lut.n_bins=64",
  "generate.every=1",
  "generate.lm.prompted_samples=true",
];

before(makeData);

test(`after ${kills} kills at random moments, while a checkpoint is written included, weights, history and samples are those of a run never killed`, async () => {
  const whole = await run("unkilled", "train", args);
  assert.equal(whole.code, 0, whole.output);

  const random = new TorchGenerator(20);
  let killed = 0;
  let whileWriting = 0;
  for (let attempt = 0; ; attempt++) {
    const waitsForWriting = attempt % 2 === 0;
    const delay = random.rand() * 700;
    let timer: NodeJS.Timeout | null = null;
    const { code, output } = await run("killed", "train", args, {
      onOutput: (soFar, kill) => {
        if (killed >= kills || timer !== null || !/training: 2 epochs/.test(soFar)) return;
        const temporary = join(experiment("killed"), "checkpoint.safetensors.tmp");
        const began = performance.now();
        timer = setInterval(() => {
          if (performance.now() - began < delay) return;
          const writing = existsSync(temporary);
          if (waitsForWriting && !writing && performance.now() - began < delay + 3000) return;
          clearInterval(timer!);
          killed++;
          if (writing) whileWriting++;
          kill("SIGKILL");
        }, 1);
      },
    });
    if (timer !== null) clearInterval(timer);
    if (code === 0) break;
    assert.equal(code, null, output); // killed, not failed
    assert.ok(attempt < 3 * kills, "no progress");
  }
  assert.equal(killed, kills);
  assert.ok(whileWriting >= kills / 4, `${whileWriting} kills while a checkpoint was written`);
  const [expected, actual] = ["unkilled", "killed"].map(experiment);
  assertSameTensors(join(expected, "checkpoint.safetensors"), join(actual, "checkpoint.safetensors"));
  assert.deepEqual(history(actual), history(expected));
  assert.deepEqual(samples(actual), samples(expected));
});

function assertSameTensors(expected: string, actual: string): void {
  const [a, b] = [expected, actual].map((path) => openSafetensors(path));
  assert.deepEqual([...b.names], [...a.names]);
  for (const name of a.names) assert.deepEqual(b.read(name), a.read(name), name);
}

/** history.json without what a clock measured. */
function history(xp: string): unknown {
  const text = readFileSync(join(xp, "history.json"), "utf8");
  return JSON.parse(text, (key, value) => (key === "duration" || key === "rtf" ? undefined : value));
}

/** Path -> content of every sample, as text; the folder of the run left out of what the JSON says. */
function samples(xp: string): Record<string, string> {
  const root = join(xp, "samples");
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
  return Object.fromEntries(
    files
      .map((file) => join(file.parentPath ?? file.path, file.name))
      .map((path): [string, string] => [
        path.slice(root.length),
        readFileSync(path).toString("latin1").replaceAll(xp, ""),
      ])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
