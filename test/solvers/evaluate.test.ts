/** What generated audio is measured with: lengths, levels, references; and the variants that the generate stage writes. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { composeTrainConfig } from "../../src/config/index.ts";
import { asMusicGenConfig, type MusicGenConfig } from "../../src/config/schema.ts";
import { levelOptions, normalizeAudio } from "../../src/data/audio/normalize.ts";
import { writeWav } from "../../src/data/audio/write_wav.ts";
import { collate } from "../../src/data/batch.ts";
import { buildLoaders, type DataConfig } from "../../src/data/build_loaders.ts";
import { type MusicInfo, musicConditions } from "../../src/data/music_dataset.ts";
import type { ChosenMetric, MetricName } from "../../src/metrics/build.ts";
import type { ClipPair } from "../../src/metrics/metric.ts";
import type { MusicGen } from "../../src/models/musicgen.ts";
import { evaluateGeneration } from "../../src/solvers/evaluate_stage.ts";
import { generateSamples } from "../../src/solvers/generate_stage.ts";
import { MELODY, tinyMusicGen } from "../tiny_model.ts";

const folder = mkdtempSync(join(tmpdir(), "musicgen-evaluate-"));
after(() => rmSync(folder, { recursive: true, force: true }));

let musicgen: MusicGen;
before(async () => {
  musicgen = await tinyMusicGen();
});

function config(...overrides: string[]): MusicGenConfig {
  const sources = ["train", "valid", "evaluate", "generate"].map((split) => `datasource.${split}=${folder}`);
  return asMusicGenConfig(
    composeTrainConfig(["dataset.segment_duration=1", "dataset.num_workers=0", ...sources, ...overrides]),
  );
}

/** Keeps what it is given. */
class Recorder implements ChosenMetric {
  readonly name: MetricName;
  readonly useGt: boolean;
  readonly pairs: ClipPair[] = [];
  readonly metric = {
    update: async (pair: ClipPair) => void this.pairs.push(pair),
    compute: () => ({ [this.name]: this.pairs.length }),
    dispose: () => {},
  };
  constructor(name: MetricName, useGt = false) {
    this.name = name;
    this.useGt = useGt;
  }
}

/** A batch of two tones, as a data set gives them; the second is padded from `valid` samples on. */
function batchOf(samples: number, valid = samples) {
  const items = [samples, valid].map((length, row) => {
    const wav = Float32Array.from({ length }, (_, i) => 0.3 * Math.sin((0.05 + 0.02 * row) * i));
    const info = {
      meta: { path: `/data/${row}.wav` },
      seekTime: 0,
      nFrames: length,
      totalFrames: length,
      sampleRate: musicgen.sampleRate,
      channels: 1,
      description: row === 0 ? "a low tone" : null,
      jointEmbed: {},
    };
    return { wav, info: info as unknown as MusicInfo };
  });
  return collate(items);
}

const silent = { onFrame: () => {}, onBatch: () => {} };

async function evaluate(
  cfg: MusicGenConfig,
  metrics: Recorder[],
  batches = [batchOf(musicgen.sampleRate / 2)],
) {
  async function* source() {
    yield* batches;
  }
  return evaluateGeneration(musicgen, cfg, source(), metrics, silent);
}

test("clips are as long as their references though these are no whole frames, at the level of generate.audio, true lengths beside", async () => {
  const samples = Math.round(0.51 * musicgen.sampleRate);
  const fad = new Recorder("fad");
  const cfg = config();
  const result = await evaluate(cfg, [fad], [batchOf(samples, samples - 700)]);
  assert.equal(result.fad, 2);
  assert.ok(result.rtf > 0);
  for (const [row, { generated, reference, length, description }] of fad.pairs.entries()) {
    assert.equal(reference[0].length, samples);
    assert.equal(generated[0].length, samples);
    assert.equal(length, row === 0 ? samples : samples - 700);
    assert.equal(description, row === 0 ? "a low tone" : null);
    const again = normalizeAudio(generated, musicgen.sampleRate, levelOptions(cfg.generate.audio));
    for (let i = 0; i < samples; i += 97) assert.ok(Math.abs(again[0][i] - generated[0][i]) < 1e-3);
  }
});

test("use_gt puts the reference through the codec for its own metric only; for texts it is the reference without padding", async () => {
  const samples = Math.round(0.5 * musicgen.sampleRate);
  const [fad, kld, text] = [
    new Recorder("fad", true),
    new Recorder("kld"),
    new Recorder("text_consistency", true),
  ];
  await evaluate(config(), [fad, kld, text], [batchOf(samples, samples - 700)]);
  assert.notDeepEqual(fad.pairs[0].generated, kld.pairs[0].generated);
  assert.notDeepEqual(fad.pairs[0].generated, fad.pairs[0].reference);
  assert.equal(fad.pairs[0].generated[0].length, samples);
  assert.deepEqual(text.pairs[0].generated, kld.pairs[0].reference);
  assert.equal(text.pairs[1].generated[0].length, samples - 700);
});

test("evaluate.truncate_audio keeps the references' first seconds; fixed_generation_duration asks for less or for more", async () => {
  const rate = musicgen.sampleRate;
  const lengths = async (...overrides: string[]) => {
    const fad = new Recorder("fad");
    await evaluate(config(...overrides), [fad], [batchOf(rate, rate / 4)]);
    return fad.pairs.map(({ generated, reference, length }) => [
      generated[0].length,
      reference[0].length,
      length,
    ]);
  };
  const cut = (seconds: number) => Math.trunc(seconds * rate);
  assert.deepEqual(await lengths("evaluate.truncate_audio=0.5"), [
    [cut(0.5), cut(0.5), cut(0.5)],
    [cut(0.5), cut(0.5), rate / 4],
  ]);
  assert.deepEqual(await lengths("evaluate.fixed_generation_duration=1.2"), [
    [rate, rate, rate],
    [rate, rate, rate / 4],
  ]);
  const fewer = await lengths("evaluate.fixed_generation_duration=0.48");
  assert.deepEqual(fewer[0], Array(3).fill(Math.round(0.48 * rate)));
});

test("objective_eval: whole files of unlike lengths are measured in one batch", async () => {
  const rate = musicgen.sampleRate;
  const rows = [1.1, 1.7].map((duration, i) => {
    const path = join(folder, `${i}.wav`);
    const samples = [new Float32Array(duration * rate).map((_, t) => 0.2 * Math.sin(t / (9 + i)))];
    writeWav(path, { samples, sampleRate: rate });
    return JSON.stringify({
      path,
      duration,
      sample_rate: rate,
      amplitude: null,
      weight: null,
      info_path: null,
    });
  });
  writeFileSync(join(folder, "data.jsonl"), `${rows.join("\n")}\n`);
  const cfg = config(
    "solver=musicgen/tiny",
    "solver/musicgen/evaluation=objective_eval",
    "dataset.batch_size=2",
    "++dataset.evaluate.batch_size=2",
  );
  const { evaluate: loader } = buildLoaders<MusicInfo>(cfg as unknown as DataConfig, ["evaluate"], {
    type: "music",
  });
  const fad = new Recorder("fad");
  await evaluateGeneration(musicgen, cfg, loader!.batches(0), [fad], silent);
  assert.deepEqual(
    fad.pairs.map(({ generated, length }) => [generated[0].length, length]),
    [1.1, 1.7].map((duration) => [1.7 * rate, Math.round(duration * rate)]),
  );
});

test("gen_gt_samples writes the items themselves, no_text_conditioning also audio without its description", async () => {
  const samples = musicgen.sampleRate / 2;
  const batch = batchOf(samples);
  const cfg = config(
    "generate.lm.gen_gt_samples=true",
    "generate.lm.no_text_conditioning=true",
    "generate.lm.prompted_samples=false",
    "generate.lm.gen_duration=0.48",
  );
  const attributes = batch.infos.map((info, i) =>
    musicConditions(info, batch.wav.subarray(i * samples, (i + 1) * samples)),
  );
  const request = { batch, attributes, index: 0, epoch: 1, folder, trackers: null, onProgress: () => {} };
  const factors = await generateSamples(musicgen, cfg, request);
  assert.equal(factors.length, 2);
  assert.equal(factors[0], 1);
  const written = readdirSync(join(folder, "1"))
    .filter((name) => name.endsWith(".json"))
    .map((name) => JSON.parse(readFileSync(join(folder, "1", name), "utf8")));
  const found = written.map(({ conditioning, duration }) => [conditioning.description, duration]);
  assert.equal(found.length, 3);
  assert.deepEqual(
    new Set(found.map((one) => one.join())),
    // the item that has no text is not generated without it again
    new Set([",0.48", "a low tone,0.5", ",0.5"]),
  );
});

test("while melodies are compared, clips are generated for their own, not for eval_wavs, which are back afterwards", async () => {
  const model = await tinyMusicGen(MELODY);
  const conditioner = model.lm.conditionProvider.conditioners.self_wav as unknown as {
    useEvalWavs(wavs: Float32Array[]): Promise<void>;
    evalChroma: unknown;
  };
  await conditioner.useEvalWavs([new Float32Array(model.sampleRate).fill(0.1)]);
  const seen: unknown[] = [];
  for (const name of ["chroma_cosine", "fad"] as const) {
    const metric = new Recorder(name);
    metric.metric.update = async () => void seen.push(conditioner.evalChroma);
    async function* source() {
      yield batchOf(model.sampleRate / 2);
    }
    await evaluateGeneration(model, config(), source(), [metric], silent);
  }
  assert.deepEqual(
    seen.map((chroma) => chroma === null),
    [true, true, false, false],
  );
  assert.notEqual(conditioner.evalChroma, null);
});
