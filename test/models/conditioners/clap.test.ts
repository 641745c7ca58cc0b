/** Joint embeddings by a tiny CLAP (test/golden/clap/relu): 4 kHz, 1 s at once, size 12. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { writeWav } from "../../../src/data/audio/write_wav.ts";
import {
  collateJointEmbeds,
  type JointEmbedCondition,
  nullJointEmbed,
} from "../../../src/data/conditioning.ts";
import { UserError } from "../../../src/errors.ts";
import { loadClap } from "../../../src/models/clap/load.ts";
import type { PreparedCondition } from "../../../src/models/conditioners/base.ts";
import {
  CLAPEmbeddingConditioner,
  type ClapConditionerOptions,
} from "../../../src/models/conditioners/clap.ts";
import { InitializerStream } from "../../../src/nn/index.ts";
import { jit } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";

const folder = new URL("../../golden/clap/relu/", import.meta.url).pathname;
const clap = await loadClap(folder);
const outputs = openSafetensors(`${folder}outputs.safetensors`);
const RATE = 4000;
/** Two seconds and a quarter: three windows of 1 s that begin half a second apart. */
const LONG = Float32Array.from({ length: 9000 }, (_, t) => Math.sin(t * 0.1) * 0.4 * (t / 9000));

const QUANTIZER = {
  ...{ codebooks: 4, bins: 3, codebookDropout: false, decay: 0.99 },
  ...{ kmeansInit: true, kmeansIterations: 5, deadThreshold: 0 },
};

function make(options: Partial<ClapConditionerOptions> = {}): CLAPEmbeddingConditioner {
  const all = {
    ...{ clap, checkpoint: folder, outputDim: 6, quantizer: null, textProbability: 0, autocastType: null },
    ...{ maxAudioLength: 1, audioStride: 0.5, normalize: true, batchSize: 2, cachePath: null },
    ...options,
  };
  return new CLAPEmbeddingConditioner(all, new InitializerStream(1));
}

function condition(
  wav: Float32Array,
  text: string | null,
  path: string | null = null,
  seekTime = 0,
): JointEmbedCondition {
  return { wav, shape: [1, 1, wav.length], length: wav.length, sampleRate: RATE, path, seekTime, text };
}

const pair = collateJointEmbeds([
  condition(LONG, "an upbeat pop song with drums"),
  condition(LONG.slice().reverse(), null),
]);

const values = (tensor: { dataSync(): unknown }) => tensor.dataSync() as Float32Array;

function forward(conditioner: CLAPEmbeddingConditioner, prepared: PreparedCondition, training = false) {
  const run = jit((input: PreparedCondition) => conditioner.forward(input, { training }).embedding, {
    name: "clap",
  });
  return run(prepared);
}

/** Embeddings by CLAP itself, [n * 12]. */
function heard(...windows: Float32Array[]): Float32Array {
  return values(clap.embedAudio(windows));
}

/** The mean of rows of 12, at length 1. */
function meanDirection(rows: Float32Array): number[] {
  const mean = Array.from({ length: 12 }, (_, d) =>
    rows.reduce((sum, v, i) => sum + (i % 12 === d ? v : 0), 0),
  );
  const norm = Math.hypot(...mean);
  return mean.map((v) => v / norm);
}

test("outside training a row is the embedding of its text, and a row without text is zeros", () => {
  const conditioner = make();
  const prepared = conditioner.prepare(pair, { training: false });
  close(values(prepared.input).subarray(0, 12), outputs.readFloat32("text_embeds").subarray(0, 12), 1e-5);
  const embedding = forward(conditioner, prepared);
  assert.deepEqual(embedding.shape, [2, 1, 6]);
  assert.ok(
    values(embedding)
      .subarray(0, 6)
      .some((v) => v !== 0),
  );
  assert.ok(
    values(embedding)
      .subarray(6)
      .every((v) => v === 0),
  );
});

test("in training a row is the mean of its windows' embeddings at length 1; windows that would not be full are left out", () => {
  const { input, mask } = make().prepare(pair, { training: true });
  const windows = [0, 2000, 4000].map((start) => LONG.slice(start, start + 4000));
  close(values(input).subarray(0, 12), meanDirection(heard(...windows)), 1e-6);
  assert.deepEqual([...values(mask)], [1, 1]);
});

test("audio shorter than a window is heard whole; null audio is masked", () => {
  const short = condition(LONG.slice(0, 1500), "text");
  const batch = collateJointEmbeds([short, nullJointEmbed(short)]);
  const { input, mask } = make().prepare(batch, { training: true });
  close(values(input).subarray(0, 12), heard(LONG.slice(0, 1500)), 1e-6);
  assert.deepEqual([...values(mask)], [1, 0]);
});

test("with text_p=1, training batches are embedded by their texts", () => {
  const trained = make({ textProbability: 1 }).prepare(pair, { training: true });
  const evaluated = make().prepare(pair, { training: false });
  close(values(trained.input), values(evaluated.input), 0);
});

test("the draws for text_p repeat from their state", () => {
  const conditioner = make({ textProbability: 0.5 });
  const state = conditioner.randomState();
  const draw = () =>
    Array.from({ length: 8 }, () => values(conditioner.prepare(pair, { training: true }).mask)[1]);
  const drawn = draw();
  assert.deepEqual([...new Set(drawn)].sort(), [0, 1]);
  conditioner.restoreRandomState(state!);
  assert.deepEqual(draw(), drawn);
});

test("the quantizer is made by k-means of the first batch, answers with sums of its entries, and learns in training", () => {
  const conditioner = make({ quantizer: QUANTIZER });
  const names = conditioner.namedParameters().map(([name]) => name);
  assert.ok(
    names.includes("quantizer.vq.layers.3._codebook.embed_avg") && names.includes("output_proj.bias"),
  );
  const prepared = conditioner.prepare(pair, { training: true });
  const [first] = conditioner.quantizer!.codebooks;
  // three entries for two vectors: the first codebook holds them, and nothing is left over
  const before = forward(conditioner, prepared);
  const plain = make().forward(prepared, { training: false });
  close(values(before), values(plain.embedding), 1e-4);
  const twice = collateJointEmbeds([condition(LONG, "a"), condition(LONG, "b")]); // both rows choose one entry
  forward(conditioner, conditioner.prepare(twice, { training: true }), true);
  const sizes = [...first.clusterSize.read()].sort();
  close(sizes, [0, 0.99, 1.01], 1e-6);
});

test("a batch without anything to embed does not make the codebooks", () => {
  const conditioner = make({ quantizer: QUANTIZER });
  const nothing = collateJointEmbeds([nullJointEmbed(condition(LONG, null))]);
  const prepared = conditioner.prepare(nothing, { training: false });
  assert.equal(conditioner.quantizer!.codebooks[0].inited.read()[0], 0);
  assert.ok(values(forward(conditioner, prepared)).every((v) => v === 0));
});

test("a cache holds the windows of whole tracks and the texts, each computed once", async (context: TestContext) => {
  const scratch = mkdtempSync(join(tmpdir(), "clap-cache-"));
  context.after(() => rmSync(scratch, { recursive: true }));
  const track = join(scratch, "track.wav");
  writeWav(track, { samples: [LONG], sampleRate: RATE }, { format: "f32" });
  const conditioner = make({ cachePath: scratch });
  // the row begins at 0.6 s: of the windows at 0, 0.5 and 1 s, those that begin from 0.5 s to below 1.5 s
  const batch = collateJointEmbeds([condition(LONG.slice(2400, 6400), "calm piano", track, 0.6)]);
  await conditioner.load(batch);
  const { input } = conditioner.prepare(batch, { training: true });
  close(values(input), meanDirection(heard(LONG.slice(2000, 6000), LONG.slice(4000, 8000))), 1e-6);
  const text = conditioner.prepare(batch, { training: false });
  close(values(text.input), values(clap.embedText(["calm piano"])), 1e-6);
  assert.deepEqual(
    [readdirSync(join(scratch, "wav")).length, readdirSync(join(scratch, "text")).length],
    [1, 1],
  );

  rmSync(track); // not read again
  const again = make({ cachePath: scratch });
  await again.load(batch);
  close(values(again.prepare(batch, { training: true }).input), values(input), 0);
});

test("windows longer than CLAP hears at once are refused", () => {
  assert.throws(() => make({ maxAudioLength: 2 }), UserError);
  assert.throws(() => make({ textProbability: 1.5 }), UserError);
});

test("the frozen CLAP is no part of the state", () => {
  const names = make()
    .namedParameters()
    .map(([name]) => name);
  assert.deepEqual(names, ["output_proj.weight", "output_proj.bias"]);
});
