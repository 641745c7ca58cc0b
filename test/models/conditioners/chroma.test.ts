/** The melody conditioner against AudioCraft's (test/golden/chroma_stem), its cache, evaluation waveforms and stems. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { writeWav } from "../../../src/data/audio/write_wav.ts";
import {
  type ConditioningAttributes,
  collateWavs,
  nullWav,
  type WavCondition,
} from "../../../src/data/conditioning.ts";
import { buildConditioners } from "../../../src/models/conditioners/build.ts";
import { ChromaStemConditioner, type ChromaStemOptions } from "../../../src/models/conditioners/chroma.ts";
import { ChromaExtractor } from "../../../src/models/conditioners/chroma_extractor.ts";
import { ConditionFuser } from "../../../src/models/conditioners/fuser.ts";
import { LUTConditioner } from "../../../src/models/conditioners/lut.ts";
import { ConditioningProvider } from "../../../src/models/conditioners/provider.ts";
import type { StemSeparator } from "../../../src/models/conditioners/stems.ts";
import { InitializerStream, loadState } from "../../../src/nn/index.ts";
import { jit, tf } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";

const golden = openSafetensors(
  new URL("../../golden/chroma_stem/chroma.safetensors", import.meta.url).pathname,
);
const sampleRate = 16000;
const evaluation = { training: false };

const long = condition(golden.readFloat32("long"), 2);
const short = condition(golden.readFloat32("short"), 1);
const batches: Record<string, WavCondition[]> = {
  mixed: [long, short, nullWav(short)],
  one_short: [short],
  null: [nullWav(short), nullWav(short)],
};
const texts = ["rock", "jazz", null];

for (const [kind, argmax] of [
  ["full", false],
  ["argmax", true],
] as const) {
  for (const [length, matchLength] of [
    ["own", false],
    ["match", true],
  ] as const) {
    for (const [batch, wavs] of Object.entries(batches)) {
      const key = `${kind}.${length}.${batch}`;
      test(`${key}: embedding, mask and [self_wav | description | input] equal AudioCraft's to 1e-5`, () => {
        const provider = new ConditioningProvider({
          self_wav: conditioner({ argmax, matchLength }),
          description: new LUTConditioner(
            { nBins: 16, dim: 4, outputDim: 8, tokenizer: "noop" },
            new InitializerStream(1),
          ),
        });
        loadState(provider, golden, {
          rename: (name) => `weights.${name}`,
          ignore: (name) => !name.startsWith("weights."),
        });
        const samples = wavs.map((wav, row) => sample(wav, texts[row]));
        const conditions = provider.forward(provider.prepare(samples, evaluation));
        close(conditions.self_wav.embedding.dataSync(), golden.readFloat32(`${key}.embedding`), 1e-5);
        close(conditions.self_wav.mask.dataSync(), golden.readFloat32(`${key}.mask`), 0);
        const fuser = new ConditionFuser({ prepend: ["self_wav", "description"] });
        const { input } = fuser.fuse(tf.zeros([wavs.length, 2, 8]), conditions);
        close(input.dataSync(), golden.readFloat32(`${key}.fused`), 1e-5);
      });
    }
  }
}

for (const [kind, argmax] of [
  ["full", false],
  ["argmax", true],
] as const) {
  test(`${kind}: chunks of a cached track are AudioCraft's; the track is computed once, and read by the next run`, async (t) => {
    const { track, cachePath } = await trackOnDisk(t);
    const batch = (seek: number) =>
      collateWavs([{ ...condition(new Float32Array(1600), 1), path: track, seekTime: seek }]);
    for (const first of [true, false]) {
      const own = conditioner({ argmax, cachePath });
      assert.equal(existsSync(cachePath), !first);
      for (const seek of [0, 0.1, 0.2]) {
        await own.load(batch(seek));
        const { input } = own.prepare(batch(seek), { training: true });
        assert.equal(readdirSync(join(cachePath, "wav")).length, 1);
        close(input.dataSync(), golden.readFloat32(`${kind}.chunk.${seek.toFixed(1)}`), 1e-4);
      }
    }
  });
}

test("a cache that was made with other settings is refused", async (t) => {
  const { track, cachePath } = await trackOnDisk(t);
  const batch = collateWavs([{ ...long, path: track }]);
  await conditioner({ cachePath }).load(batch);
  await assert.rejects(conditioner({ cachePath, argmax: true }).load(batch), {
    name: "UserError",
    message: /made with other settings .*use another cache_path/,
  });
});

test("a batch in which a waveform is of no file is computed, cache or not", async (t) => {
  const { cachePath } = await trackOnDisk(t);
  const own = conditioner({ cachePath });
  await own.load(collateWavs([long, short]));
  assert.equal(own.prepare(collateWavs([long, short]), evaluation).input.shape[1], 16);
});

test("outside training, evaluation waveforms stand in for the samples' own, each once before any comes again", async () => {
  const own = conditioner({});
  const extractor = new ChromaExtractor({ sampleRate, nChroma: 12, radix2Exp: 10, argmax: false });
  const wavs = [tone(220), tone(330), tone(440)];
  const chroma = wavs.map((wav) => [...extractor.extract(wav)]);
  await own.useEvalWavs(wavs);
  const rows = (training: boolean) =>
    tf
      .unstack(own.prepare(collateWavs([short, short, short, nullWav(short)]), { training }).input)
      .map((row) => [...row.dataSync()]);
  const drawn = rows(false);
  const order = drawn.slice(0, 3).map((row) => chroma.findIndex((one) => same(one, row)));
  assert.deepEqual([...order].sort(), [0, 1, 2]);
  assert.ok(drawn[3].every((value) => value === 0)); // no condition stays none
  assert.equal(rows(true)[0].length, 7 * 12); // its own length
});

test("stems are separated before the chroma is taken, of a batch's conditions and of cached tracks; without, a notice", async (t) => {
  const { track, cachePath } = await trackOnDisk(t);
  const seen: number[] = [];
  const separator: StemSeparator = {
    name: "silencer",
    async melody(wav) {
      seen.push(wav.length);
      return new Float32Array(wav.length);
    },
  };
  const own = conditioner({ separator });
  const batch = () => collateWavs([long, short, nullWav(short)]);
  assert.throws(() => own.prepare(batch(), evaluation), /must be loaded/);
  await own.load(batch());
  await own.load(batch());
  const { input } = own.prepare(batch(), evaluation);
  assert.ok(input.dataSync().every((value) => value === 0));
  assert.deepEqual(seen, [4000, 4000]); // padded to the longest, once each, none for the null row
  await conditioner({ separator, cachePath }).load(collateWavs([{ ...long, path: track }]));
  assert.deepEqual(own.notices, []);
  assert.match(conditioner({}).notices[0], /whole mix/);
});

test("a condition at another rate is resampled, and its mask with it", () => {
  const own = conditioner({});
  const slow = { ...short, sampleRate: 8000 };
  const { input, mask } = own.prepare(collateWavs([slow]), evaluation);
  assert.equal(input.shape[1], 13); // 3200 samples
  assert.deepEqual([...mask.dataSync()], Array(13).fill(1));
  assert.throws(() => own.prepare(collateWavs([slow, short]), evaluation), {
    name: "UserError",
    message: /different sample rates: 8000, 16000/,
  });
});

test("a training step is traced twice at most: for batches with melodies, and for those without", () => {
  const own = conditioner({});
  const step = jit((prepared: ReturnType<typeof own.prepare>) => own.forward(prepared).embedding);
  const batchesInTraining = [
    [long, long],
    [{ ...long, length: 2000 }, long],
    [nullWav(long), nullWav(long)],
    [long, { ...long, length: 100 }],
  ];
  for (const wavs of batchesInTraining) step(own.prepare(collateWavs(wavs), { training: true }));
  assert.equal(step.traces, 2);
});

test("preparing leaks no tensors", () => {
  const own = conditioner({});
  tf.dispose(own.prepare(collateWavs([long, short]), evaluation) as never);
  const before = tf.memory().numTensors;
  tf.dispose(own.prepare(collateWavs([long, short]), evaluation) as never);
  assert.equal(tf.memory().numTensors, before);
});

const section = {
  sample_rate: sampleRate,
  n_chroma: 12,
  radix2_exp: 10,
  argmax: true,
  match_len_on_eval: true,
};
const fuser = { prepend: ["self_wav"] };

test("the config's section builds it; the length to match is that of the data set's segments, or given in frames", async () => {
  for (const [chroma_length, frames] of [
    [null, 13],
    [9, 9],
  ]) {
    const { provider } = await build({ ...section, eval_wavs: null, cache_path: null, chroma_length });
    const { self_wav } = provider.prepare([sample(short, null)], evaluation);
    assert.deepEqual(self_wav.input.shape, [1, frames, 12]);
  }
});

test("eval_wavs names a manifest, of which the first n_eval_wavs files that are long enough are taken", async (t) => {
  const { track, folder } = await trackOnDisk(t);
  const manifest = join(folder, "data.jsonl");
  const row = (duration: number) => `${JSON.stringify({ path: track, duration, sample_rate: sampleRate })}\n`;
  writeFileSync(manifest, row(0.25));
  const { provider } = await build({
    ...section,
    match_len_on_eval: false,
    eval_wavs: manifest,
    n_eval_wavs: 2,
  });
  const { self_wav } = provider.prepare([sample(short, null)], evaluation);
  assert.deepEqual(self_wav.input.shape, [1, 13, 12]);
  writeFileSync(manifest, row(0.1));
  await assert.rejects(build({ ...section, eval_wavs: manifest, n_eval_wavs: 2 }), {
    name: "UserError",
    message: /none of its files is as long as 0\.2 s/,
  });
  await assert.rejects(build({ ...section, eval_wavs: manifest }), {
    message: /n_eval_wavs must be a positive/,
  });
});

test("whole files as training segments give no length to match, which is said", async () => {
  const chroma = { model: "chroma_stem", chroma_stem: section };
  const cfg = { conditioners: { self_wav: chroma }, fuser, dataset: { segment_duration: null } };
  await assert.rejects(buildConditioners(cfg, 8, new InitializerStream(1)), {
    name: "UserError",
    message: /needs dataset\.segment_duration/,
  });
});

function build(chroma_stem: object) {
  const conditioners = { self_wav: { model: "chroma_stem", chroma_stem } };
  return buildConditioners(
    { conditioners, fuser, dataset: { segment_duration: 0.2 } },
    8,
    new InitializerStream(1),
  );
}

function conditioner(options: Partial<ChromaStemOptions>): ChromaStemConditioner {
  return new ChromaStemConditioner(
    {
      ...{
        sampleRate,
        nChroma: 12,
        radix2Exp: 10,
        argmax: false,
        duration: 0.2,
        outputDim: 8,
        matchLength: false,
      },
      ...options,
    },
    new InitializerStream(1),
  );
}

function condition(wav: Float32Array, channels: number): WavCondition {
  const length = wav.length / channels;
  return { wav, shape: [1, channels, length], length, sampleRate, path: null, seekTime: 0 };
}

function sample(self_wav: WavCondition, description: string | null): ConditioningAttributes {
  return { text: { description }, wav: { self_wav }, joint_embed: {} };
}

function tone(frequency: number): Float32Array {
  return Float32Array.from({ length: 3200 }, (_, t) => Math.sin((2 * Math.PI * frequency * t) / sampleRate));
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => Math.abs(value - b[i]) < 1e-6);
}

/** The golden's long clip as a file, and a folder for a cache. */
async function trackOnDisk(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "chroma-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const track = join(folder, "track.wav");
  const samples = [long.wav.slice(0, 4000), long.wav.slice(4000)];
  writeWav(track, { samples, sampleRate }, { format: "f32" });
  return { folder, track, cachePath: join(folder, "cache") };
}
