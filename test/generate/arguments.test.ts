/** The command line of generate: descriptions, options, switches, prompt files, batches, and what is refused. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { help, parseArguments } from "../../src/generate/arguments.ts";
import { batches, plannedJobs } from "../../src/generate/jobs.ts";
import { checkOutputs } from "../../src/generate/output.ts";

const folder = mkdtempSync(join(tmpdir(), "musicgen-generate-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const userError = (message: RegExp) => ({ name: "UserError", message });
const jobsOf = (...argv: string[]) => plannedJobs(parseArguments(argv));

test("free words are descriptions; options are written in four ways", () => {
  assert.deepEqual(
    parseArguments(["slow piano", "duration=8", "--top-k", "5", "--temp=0.5", "drums, loud", "seed=3"]),
    {
      descriptions: ["slow piano", "drums, loud"],
      options: { duration: 8, top_k: 5, temperature: 0.5, seed: 3 },
    },
  );
});

test("switches need no value, may have one, and are switched off by no-", () => {
  const { descriptions, options } = parseArguments([
    "--stream",
    "piano",
    "--use-sampling",
    "false",
    "--no-normalize",
    "spectrogram=true",
  ]);
  assert.deepEqual(descriptions, ["piano"]);
  assert.deepEqual(options, { stream: true, use_sampling: false, normalize: false, spectrogram: true });
});

for (const [argument, message] of [
  ["durration=3", /no option durration \(did you mean duration\?\); it has model, duration/],
  ["--no-duration", /no option no-duration/],
  ["constructor=3", /no option constructor/],
  ["--no-stream=true", /takes no value/],
  ["duration=abc", /duration=abc: a number is needed/],
  ["duration=0", /duration=0: a number of at least 0.01/],
  ["top_p=2", /top_p=2: a number from 0 to 1/],
  ["seed=1.5", /seed=1.5: a whole number from 0/],
  ["use_sampling=maybe", /use true or false/],
  ["device=gpu", /device=gpu: use cpu, cuda/],
  ["format=aac", /format=aac: use wav, flac, mp3, ogg, pcm/],
  ["model=", /model= is empty/],
  ["--seed", /--seed needs a value/],
] as [string, RegExp][]) {
  test(`${argument} is refused`, () => {
    assert.throws(() => parseArguments([argument]), userError(message));
  });
}

test("the help lists every option", () => {
  for (const option of [
    "model",
    "prompt_audio",
    "melody",
    "cfg_coef_beta",
    "style_encodec_n_q",
    "spectrogram",
    "jit",
  ])
    assert.match(help(), new RegExp(`^  ${option} `, "m"));
});

test("samples of a description have seeds that count up, so each can be made again alone", () => {
  const jobs = jobsOf("piano", "drums", "num_samples=2", "seed=10", "out=music");
  assert.deepEqual(
    jobs.map(({ description, seed, index, count }) => [description, seed, index, count]),
    [
      ["piano", 10, 0, 4],
      ["piano", 11, 1, 4],
      ["drums", 10, 2, 4],
      ["drums", 11, 3, 4],
    ],
  );
});

test("without a description one sample is made without one", () => {
  assert.deepEqual(
    jobsOf("--unconditional", "num_samples=2").map(({ description }) => description),
    [null, null],
  );
  assert.equal(jobsOf()[0].description, null);
  assert.throws(() => jobsOf("--unconditional", "piano"), userError(/takes no descriptions/));
});

test("a file of prompts has a text or JSON per line; what a line leaves open the command line says", () => {
  const path = join(folder, "prompts.jsonl");
  writeFileSync(
    path,
    [
      "plain text",
      "",
      '{"description": "fast", "duration": 2, "seed": 7, "out": "fast.mp3", "prompt_audio": "a.wav"}',
      '{"description": null, "num_samples": 2}',
    ].join("\r\n"),
  );
  const jobs = jobsOf("first", `prompts=${path}`, "duration=5", "seed=1");
  assert.deepEqual(
    jobs.map(({ description, duration, seed, out, promptAudio }) => [
      description,
      duration,
      seed,
      out,
      promptAudio,
    ]),
    [
      ["first", 5, 1, "samples", null],
      ["plain text", 5, 1, "samples", null],
      ["fast", 2, 7, "fast.mp3", join(folder, "a.wav")],
      [null, 5, 1, "samples", null],
      [null, 5, 2, "samples", null],
    ],
  );
});

for (const [line, message] of [
  ["{bad", /line 2: .*JSON/],
  ['{"description": 3}', /line 2: description must be a text/],
  ['{"description": "a", "tempo": 3}', /line 2: tempo is unknown; known: description, duration/],
  ['{"description": "a", "duration": -1}', /line 2: duration=-1: a number of at least/],
] as [string, RegExp][]) {
  test(`the line ${line} is refused with its place`, () => {
    const path = join(folder, "bad.jsonl");
    writeFileSync(path, `fine\n${line}\n`);
    assert.throws(() => jobsOf(`prompts=${path}`), userError(message));
  });
}

test("a missing or empty file of prompts is refused", () => {
  assert.throws(() => jobsOf("prompts=/nowhere.txt"), userError(/prompts=\/nowhere.txt: .*no such file/));
  writeFileSync(join(folder, "empty.txt"), "\n\n");
  assert.throws(() => jobsOf(`prompts=${join(folder, "empty.txt")}`), userError(/no description in it/));
});

test("batches hold equal durations and prompts, in order, up to their size", () => {
  const jobs = jobsOf("a", "b", "c", "num_samples=2", "duration=1");
  jobs[1].duration = 2;
  assert.deepEqual(
    batches(jobs, 3).map((batch) => batch.map(({ description, duration }) => `${description}${duration}`)),
    [["a1", "b1", "b1"], ["c1", "c1"], ["a2"]],
  );
});

for (const [argv, message] of [
  [["a", "out=song.aac"], /no encoder for .aac; use .wav, .flac, .mp3, .ogg/],
  [["a", "out=song.wav", "format=mp3"], /out=song.wav is not a mp3 file/],
  [["a", "format=pcm"], /format=pcm is for standard output/],
  [["a", "--stream", "out=song.wav"], /stream=true writes to standard output/],
  [["a", "b", "--stream"], /out=- takes one sample, and 2 are asked for/],
  [["a", "--stream", "format=mp3"], /format=mp3 cannot be streamed/],
  [["a", "--stream", "strategy=peak"], /a stream has the model's own levels/],
  [["a", "strategy=peak", "--no-normalize"], /strategy=peak normalises/],
  [["a", "chunk_duration=2"], /chunk_duration=2 is for stream=true/],
  [["a", "mp3_rate=128", "out=a.ogg"], /mp3_rate=128 is for MP3 files/],
  [["a", "prompt_duration=2"], /prompt_duration is a part of prompt_audio/],
  [["a", "--remove-prompts"], /remove_prompts=true needs something to remove/],
] as [string[], RegExp][]) {
  test(`${argv.join(" ")} is refused before a model is loaded`, () => {
    const { descriptions, options } = parseArguments(argv);
    assert.throws(() => checkOutputs(plannedJobs({ descriptions, options }), options), userError(message));
  });
}
