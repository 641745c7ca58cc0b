/** `npm run generate` as a stranger uses it, on a tiny model: files, formats, streams, continuations, and refusals. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { peak } from "../../src/data/audio/normalize.ts";
import { readAudio } from "../../src/data/audio/read.ts";
import { writeWav } from "../../src/data/audio/write_wav.ts";
import { writeTinyCheckpoint } from "../tiny_model.ts";

const launcher = fileURLToPath(new URL("../../scripts/launch.mjs", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "musicgen-generate-"));
const model = join(folder, "checkpoint.safetensors");
const intro = join(folder, "intro.wav");

before(async () => {
  await writeTinyCheckpoint(model);
  const tone = Float32Array.from({ length: 44100 }, (_, i) => 0.5 * Math.sin(i / 15));
  writeWav(intro, { samples: [tone, tone], sampleRate: 44100 });
});
after(() => rmSync(folder, { recursive: true, force: true }));

function run(...argv: string[]) {
  const result = spawnSync(
    process.execPath,
    [launcher, "generate", `model=${model}`, "device=cpu", ...argv],
    {
      env: { ...process.env, AUDIOCRAFT_DORA_DIR: join(folder, "runs"), NO_COLOR: "1", FFMPEG_PATH: "none" },
      maxBuffer: 1 << 26,
    },
  );
  return { code: result.status, stdout: result.stdout, stderr: result.stderr.toString() };
}

test("a file of prompts becomes files of every format, with pictures, and says where", async () => {
  const prompts = join(folder, "prompts.jsonl");
  const out = join(folder, "music");
  writeFileSync(
    prompts,
    ["flac", "mp3", "ogg"]
      .map((format) => JSON.stringify({ description: format, duration: 0.8, out: join(out, `x.${format}`) }))
      .join("\n"),
  );
  const { code, stdout, stderr } = run(
    "Slow piano, please!",
    `prompts=${prompts}`,
    `out=${out}`,
    "duration=0.4",
    "num_samples=2",
    "--spectrogram",
  );
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    readdirSync(out).sort(),
    [
      "slow-piano-please_seed0.png",
      "slow-piano-please_seed0.wav",
      "slow-piano-please_seed1.png",
      "slow-piano-please_seed1.wav",
      ...["flac", "mp3", "ogg"].flatMap((format) => [`x_1.${format}`, `x_2.${format}`]),
      "x_1.png",
      "x_2.png",
    ].sort(),
  );
  for (const format of ["flac", "mp3", "ogg"]) {
    const { samples, sampleRate } = await readAudio(join(out, `x_1.${format}`), { decoder: "wasm" });
    assert.deepEqual([samples.length, samples[0].length, sampleRate], [1, 12800, 16000]);
    assert.ok(peak(samples) > 0.01);
  }
  assert.match(stdout.toString(), /slow-piano-please_seed1\.wav {2}\(0\.40 s, 16000 Hz, peak -?[\d.]+, RMS/);
  assert.match(stderr, /s of audio in [\d.]+ s: [\d.]+x real time/);
});

test("a stream is the WAV of the same seed, with nothing else on standard output", () => {
  const argv = ["piano", "duration=1.6", "seed=4", "--extend-stride", "0.5"];
  const streamed = run(...argv, "--stream", "chunk_duration=0.2");
  const whole = run(...argv, "--no-normalize", "out=-");
  assert.equal(streamed.code, 0, streamed.stderr);
  assert.equal(whole.code, 0, whole.stderr);
  assert.match(streamed.stderr, /first audio after [\d.]+ s/);
  assert.equal(streamed.stdout.length, 44 + 2 * 25600);
  assert.deepEqual(streamed.stdout.subarray(0, 44), whole.stdout.subarray(0, 44));
  for (let at = 44; at < streamed.stdout.length; at += 2)
    assert.ok(Math.abs(streamed.stdout.readInt16LE(at) - whole.stdout.readInt16LE(at)) <= 1);
});

test("a player that is closed ends the stream without an error", async () => {
  const child = spawn(
    process.execPath,
    [launcher, "generate", `model=${model}`, "device=cpu", "piano", "--stream", "format=pcm", "duration=600"],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let stderr = "";
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  child.stdout.once("data", () => child.stdout.destroy());
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(code, 0, stderr);
  assert.match(stderr, /closed it: stopped/);
});

test("a continuation has the prompt in front, or not", async () => {
  const argv = ["piano", "duration=1", `--prompt-audio=${intro}`, "prompt_duration=0.4", "--no-normalize"];
  const kept = join(folder, "kept.wav");
  const removed = join(folder, "removed.wav");
  for (const more of [[`out=${kept}`], [`out=${removed}`, "--remove-prompts"]]) {
    const { code, stderr } = run(...argv, ...more);
    assert.equal(code, 0, stderr);
  }
  assert.equal((await readAudio(kept)).samples[0].length, 16000);
  assert.equal((await readAudio(removed)).samples[0].length, 16000 - 6400);
});

for (const [argv, message] of [
  [["a", "prompt_audio=/nowhere.wav"], /error: prompt_audio=\/nowhere.wav: there is no such file/],
  [["a", "melody=INTRO"], /error: this model takes no melodies/],
  [["a", "prompt_audio=INTRO", "duration=0.5"], /error: the prompt of 1 s leaves nothing of duration=0.5/],
  [["a", "--no-normalize", "strategy=peak"], /error: strategy=peak normalises/],
] as [string[], RegExp][]) {
  test(`${argv.join(" ")} is refused in one line, and writes nothing`, () => {
    const out = join(folder, "refused");
    const { code, stderr } = run(...argv.map((argument) => argument.replace("INTRO", intro)), `out=${out}`);
    assert.equal(code, 1);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /\n\s+at /);
    assert.equal(existsSync(out), false);
  });
}

test("the samples are normalised in loudness unless that is switched off", () => {
  const normal = join(folder, "normal.wav");
  const raw = join(folder, "raw.wav");
  assert.equal(run("a", "duration=1", `out=${normal}`).code, 0);
  assert.equal(run("a", "duration=1", `out=${raw}`, "--no-normalize").code, 0);
  assert.notDeepEqual(readFileSync(normal), readFileSync(raw));
});
