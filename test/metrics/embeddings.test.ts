/** Metrics on embeddings: text consistency and the Fréchet distance, with the models of test/golden. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import { ClapEmbeddings, type EmbeddingModel, MertEmbeddings } from "../../src/metrics/embedding_model.ts";
import { FrechetAudioDistance } from "../../src/metrics/frechet_audio_distance.ts";
import { covering, windows } from "../../src/metrics/metric.ts";
import { TextConsistency } from "../../src/metrics/text_consistency.ts";
import { loadClap } from "../../src/models/clap/load.ts";
import { loadMert } from "../../src/models/mert/load.ts";
import { close } from "../close.ts";
import { CLIPS, golden as clapGolden, readTexts } from "../models/clap/golden.ts";

const outputs = openSafetensors(`${clapGolden}relu/outputs.safetensors`);
const clips = CLIPS.map((name) => outputs.readFloat32(name));
const { texts } = readTexts("relu");

function rows(name: string): Float32Array[] {
  const values = outputs.readFloat32(name);
  const [count, dim] = outputs.shape(name);
  return Array.from({ length: count }, (_, i) => values.slice(i * dim, (i + 1) * dim));
}

test("text consistency is the mean cosine of transformers' embeddings; clips without text do not count", async () => {
  const clap = await loadClap(`${clapGolden}relu`);
  const { sampleRate } = clap.logMel.options;
  const metric = new TextConsistency(clap);
  const pair = (i: number, description: string | null) => ({
    generated: [clips[i]],
    reference: [clips[i]],
    sampleRate,
    length: 1,
    description,
  });
  assert.throws(() => metric.compute(), /no clip of the evaluate split has a description/);
  await metric.update(pair(0, texts[0]));
  await metric.update(pair(2, texts[1]));
  await metric.update(pair(1, null));
  const cosine = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const [audio, text] = [rows("audio_embeds"), rows("text_embeds")];
  const expected = (cosine(audio[0], text[0]) + cosine(audio[2], text[1])) / 2;
  close([metric.compute().text_consistency], [expected], 1e-5);
  metric.dispose();
});

test("CLAP embeds windows that lie in the clip, and the clip itself when it is shorter", async () => {
  const clap = await loadClap(`${clapGolden}relu`);
  const model = new ClapEmbeddings(clap, 1);
  const [short] = await model.embed(clips[1].length < clips[0].length ? clips[1] : clips[0]);
  close(short, rows("audio_embeds")[clips[1].length < clips[0].length ? 1 : 0], 1e-5);
  const { maxSamples, sampleRate } = clap.logMel.options;
  const long = new Float32Array(maxSamples + 2 * sampleRate + 5).map((_, i) => Math.sin(i / 9));
  assert.equal((await model.embed(long)).length, 3);
  model.dispose();
});

test("MERT gives a vector per frame, and the level of its input does not matter", async () => {
  const model = new MertEmbeddings(await loadMert(new URL("../golden/mert", import.meta.url).pathname));
  const wav = new Float32Array(1.5 * model.sampleRate).map((_, i) => Math.sin(i / 7) * Math.cos(i / 1500));
  const [loud, soft] = [await model.embed(wav), await model.embed(wav.map((x) => x / 8 + 0.1))];
  assert.ok(loud.length > 1);
  for (const [i, vector] of loud.entries()) close(soft[i], vector, 1e-3);
  model.dispose();
});

test("windows lie in the clip; covering ones reach its end", () => {
  const clip = Float32Array.from({ length: 25 }, (_, i) => i);
  assert.deepEqual(
    windows(clip, 10, 4).map((window) => [window[0], window.length]),
    [0, 4, 8, 12].map((start) => [start, 10]),
  );
  assert.deepEqual(
    covering(clip, 10).map((window) => [window[0], window.length]),
    [
      [0, 10],
      [8, 10],
      [15, 10],
    ],
  );
  assert.deepEqual(
    covering(clip, 30).map((window) => window.length),
    [25],
  );
});

test("FAD hears mono at the model's rate, without padding, its peak 1 dB below full scale", async () => {
  const heard: Float32Array[] = [];
  const model: EmbeddingModel = {
    sampleRate: 4000,
    embed: async (wav) => {
      heard.push(wav);
      return [...wav.subarray(0, 40)].map((value) => Float32Array.of(value));
    },
    dispose() {},
  };
  const metric = new FrechetAudioDistance(model);
  assert.throws(() => metric.compute(), /fad: there was no audio/);
  const ramp = (scale: number) => Float32Array.from({ length: 100 }, (_, i) => (scale * (i % 7)) / 7);
  const [a, b] = [ramp(0.5), ramp(0.25)];
  await metric.update({
    generated: [a, b],
    reference: [b, b],
    sampleRate: 4000,
    length: 80,
    description: null,
  });
  assert.deepEqual(
    heard.map((wav) => wav.length),
    [80, 80],
  );
  for (const wav of heard) close([Math.max(...wav)], [10 ** (-1 / 20)], 1e-6);
  // they differ by their level only, which is taken away
  assert.ok(Math.abs(metric.compute().fad) < 1e-9);
});
