/** The style conditioner against one put together of AudioCraft's parts (test/golden/style), and its own rules. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { collateWavs, nullWav, type WavCondition } from "../../../src/data/conditioning.ts";
import { UserError } from "../../../src/errors.ts";
import type { PreparedCondition } from "../../../src/models/conditioners/base.ts";
import { StyleConditioner, type StyleConditionerOptions } from "../../../src/models/conditioners/style.ts";
import { EncodecFeatures, MertFeatures } from "../../../src/models/conditioners/style_features.ts";
import { debugEncodec, EncodecCompressionModel } from "../../../src/models/encodec/index.ts";
import { loadMert } from "../../../src/models/mert/load.ts";
import { InitializerStream, loadState, type TensorSource } from "../../../src/nn/index.ts";
import { type JitMode, jit, type Tensor, tf, valueAndGradients } from "../../../src/runtime/index.ts";
import { close } from "../../close.ts";

const mert = await loadMert(new URL("../../golden/mert/", import.meta.url).pathname);
const golden = openSafetensors(new URL("../../golden/style/style.safetensors", import.meta.url).pathname);
const SAMPLES = 4000;
const RATE = 24000;

function make(options: Partial<StyleConditionerOptions> = {}): StyleConditioner {
  return new StyleConditioner(
    {
      outputDim: 12,
      features: new MertFeatures(mert),
      transformer: { dim: 16, heads: 2, layers: 2 },
      length: 0.1,
      varyingLengths: null,
      useMiddle: true,
      dsFactor: 15,
      codebooks: 3,
      evalCodebooks: 2,
      codebookDropout: false,
      bins: 8,
      deadThreshold: 0,
      batchNorm: true,
      computeMask: true,
      samplesPerFrame: 400,
      seed: 7,
      ...options,
    },
    new InitializerStream(1),
  );
}

/** The part of the golden file whose names begin with `prefix`, without it. */
function part(prefix: string): TensorSource {
  return {
    path: golden.path,
    names: golden.names.flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : [])),
    shape: (name) => golden.shape(prefix + name),
    readFloat32: (name) => golden.readFloat32(prefix + name),
  };
}

function loaded(options: Partial<StyleConditionerOptions> = {}): StyleConditioner {
  const conditioner = make(options);
  loadState(conditioner, part("state."));
  return conditioner;
}

function wavs(): WavCondition[] {
  const all = golden.readFloat32("wav");
  return [0, 1].map((row) => ({
    wav: all.slice(row * SAMPLES, (row + 1) * SAMPLES),
    shape: [1, 1, SAMPLES],
    length: SAMPLES,
    sampleRate: RATE,
    path: null,
    seekTime: 0,
  }));
}

const batch = () => collateWavs(wavs());

function forward(
  conditioner: StyleConditioner,
  prepared: PreparedCondition,
  training = false,
  mode: JitMode = "graph",
) {
  const run = jit((input: PreparedCondition) => conditioner.forward(input, { training }).embedding, {
    name: "style",
    mode,
  });
  return run(prepared);
}

for (const mode of ["none", "graph", "xla"] as const) {
  test(`outside training, the embeddings equal the original's to 1e-5 (jit=${mode})`, () => {
    const conditioner = loaded();
    const embedding = forward(conditioner, conditioner.prepare(batch(), { training: false }), false, mode);
    assert.deepEqual(embedding.shape, [2, 8, 12]);
    close(embedding.dataSync() as Float32Array, golden.readFloat32("eval"), 1e-5);
  });

  test(`in training, embeddings, gradients, batch norm and codebooks equal the original's (jit=${mode})`, () => {
    const conditioner = loaded();
    const named = conditioner.namedParameters().filter(([, parameter]) => parameter.trainable);
    const dy = tf.tensor(golden.readFloat32("dy"), [2, 8, 12]);
    const step = jit(
      (prepared: PreparedCondition) => {
        const { aux, gradients } = valueAndGradients(
          () => {
            const { embedding } = conditioner.forward(prepared, { training: true });
            return { loss: tf.sum(tf.mul(embedding, dy)) as Tensor, aux: { embedding } };
          },
          named.map(([, parameter]) => parameter),
        );
        return [aux.embedding, ...gradients.map((gradient) => gradient!)];
      },
      { name: "style_step", mode },
    );
    const [embedding, ...gradients] = step(conditioner.prepare(batch(), { training: true }));
    close(embedding.dataSync() as Float32Array, golden.readFloat32("train"), 1e-5);
    for (const [i, [name]] of named.entries()) {
      close(gradients[i].dataSync() as Float32Array, golden.readFloat32(`grad.${name}`), 1e-4);
    }
    for (const [name, buffer] of conditioner.namedParameters()) {
      if (!buffer.trainable) close(buffer.read() as Float32Array, golden.readFloat32(`after.${name}`), 1e-5);
    }
  });
}

test("a batch of null conditions is one zero vector per row, and moves no codebook", () => {
  const conditioner = loaded();
  const nothing = collateWavs(wavs().map(nullWav));
  const prepared = conditioner.prepare(nothing, { training: true });
  const embedding = forward(conditioner, prepared, true);
  assert.deepEqual(embedding.shape, [2, 1, 12]);
  assert.ok((embedding.dataSync() as Float32Array).every((value) => value === 0));
  assert.equal(prepared.lossMask, undefined);
  const sizes = conditioner.rvq!.codebooks[0].clusterSize.read();
  close(sizes, golden.readFloat32("state.rvq.vq.layers.0._codebook.cluster_size"), 0);
});

test("a null condition in a batch is zeros, and its neighbour is what it is without it", () => {
  const conditioner = loaded();
  const [first, second] = wavs();
  const mixed = conditioner.prepare(collateWavs([first, nullWav(second)]), { training: false });
  const embedding = forward(conditioner, mixed).dataSync() as Float32Array;
  close(embedding.subarray(0, 96), golden.readFloat32("eval").subarray(0, 96), 1e-5);
  assert.ok(embedding.subarray(96).every((value) => value === 0));
});

test("the loss leaves out the codec's frames that the excerpt was cut from", () => {
  const { lossMask } = loaded().prepare(batch(), { training: true });
  // 4000 samples are 10 frames of 400; the excerpt is samples 800 to 3200, frames 2 to 8
  const row = [1, 1, 0, 0, 0, 0, 0, 0, 1, 1];
  assert.deepEqual(lossMask!.arraySync(), [row, row]);
  assert.equal(loaded({ computeMask: false }).prepare(batch(), { training: true }).lossMask, undefined);
});

test("audio shorter than the excerpt is heard whole, and then nothing is left out of the loss", () => {
  const prepared = loaded({ length: 3 }).prepare(batch(), { training: false });
  assert.equal(prepared.input.shape[1], 199);
  assert.equal(prepared.lossMask, undefined);
});

test("lengths in training are whole numbers of kept frames within the bounds, starts vary, and the state repeats them", () => {
  const conditioner = loaded({ varyingLengths: [0.04, 0.09], useMiddle: false });
  const state = conditioner.randomState();
  const draw = () =>
    Array.from({ length: 30 }, () => {
      const { mask, lossMask, extra } = conditioner.prepare(batch(), { training: true });
      return [mask.shape[1]!, (lossMask!.dataSync() as Float32Array).join(), extra!.seed.dataSync().join()];
    });
  const drawn = draw();
  // 80 kept frames a second: 3.2 to 7.2
  assert.deepEqual([...new Set(drawn.map(([frames]) => frames))].sort(), [4, 5, 6, 7]);
  assert.ok(new Set(drawn.map(([, mask]) => mask)).size > 4);
  conditioner.restoreRandomState(state!);
  assert.deepEqual(draw(), drawn);
});

test("codebook dropout draws 1 to n_q_out codebooks in training and takes eval_q outside", () => {
  const conditioner = loaded({ codebookDropout: true });
  const used = (training: boolean) =>
    Array.from(
      { length: 24 },
      () => conditioner.prepare(batch(), { training }).extra!.codebooks.dataSync()[0],
    );
  assert.deepEqual([...new Set(used(true))].sort(), [1, 2, 3]);
  assert.deepEqual([...new Set(used(false))], [2]);
});

test("codebooks that take no part in a step stay as they are", () => {
  const conditioner = loaded();
  const prepared = conditioner.prepare(batch(), { training: true });
  prepared.extra!.codebooks = tf.scalar(1, "int32");
  forward(conditioner, prepared, true);
  const embed = (k: number) => conditioner.rvq!.codebooks[k].embed.read();
  close(embed(1), golden.readFloat32("state.rvq.vq.layers.1._codebook.embed"), 0);
  assert.notDeepEqual(embed(0), golden.readFloat32("state.rvq.vq.layers.0._codebook.embed"));
});

test("new codebooks are made by k-means of the first excerpts: what is heard comes out close to what it was", () => {
  const conditioner = make({ bins: 32, evalCodebooks: 3 });
  conditioner.prepare(batch(), { training: true });
  const [first, ...others] = conditioner.rvq!.codebooks;
  for (const { inited, clusterSize } of [first, ...others]) {
    assert.equal(inited.read()[0], 1);
    assert.equal(
      Array.from(clusterSize.read()).reduce((sum, size) => sum + size, 0),
      2 * 119,
    );
  }
  const spread = (values: ArrayLike<number>) => Array.from(values).reduce((sum, v) => sum + v * v, 0);
  assert.ok(spread(others[1].embed.read()) < 0.3 * spread(first.embed.read()));
});

test("dead entries start again as vectors of the batch", () => {
  const conditioner = loaded({ deadThreshold: 5 });
  const far = new Float32Array(8 * 16).fill(1000);
  const [codebook] = conditioner.rvq!.codebooks;
  codebook.embed.load(far);
  codebook.embedAvg.load(far);
  codebook.clusterSize.load(new Float32Array(8));
  forward(conditioner, conditioner.prepare(batch(), { training: true }), true);
  // one entry gets all vectors; seven keep the count of the threshold, 5 less 1%
  const sizes = [...codebook.clusterSize.read()].sort((a, b) => a - b);
  close(sizes.slice(0, 7), new Array(7).fill(4.95), 1e-4);
  assert.ok(codebook.embed.read().every((value) => Math.abs(value) < 10));
});

test("the parameters of generation change codebooks, length and frames, within what the model has", () => {
  const conditioner = loaded();
  conditioner.setParams({ evalCodebooks: 1, length: 0.05, dsFactor: 20 });
  const { extra, mask } = conditioner.prepare(batch(), { training: false });
  assert.deepEqual([extra!.codebooks.dataSync()[0], mask.shape[1]], [1, 3]); // 59 frames
  assert.throws(() => conditioner.setParams({ evalCodebooks: 4 }), UserError);
  assert.throws(() => conditioner.setParams({ encodecCodebooks: 1 }), UserError);
});

test("codes of an EnCodec are embedded by a table per codebook and summed", () => {
  const codec = new EncodecCompressionModel(debugEncodec(16000));
  const options = {
    transformer: { dim: 16, heads: 2, layers: 0 },
    codebooks: 0,
    batchNorm: false,
    dsFactor: 5,
  };
  const conditioner = make({ features: new EncodecFeatures(codec, 2), ...options, length: 0.4 });
  const names = conditioner.namedParameters().map(([name]) => name);
  assert.deepEqual(names, ["output_proj.weight", "output_proj.bias", "embed.0.weight", "embed.1.weight"]);
  const wav = collateWavs([
    { ...wavs()[0], wav: new Float32Array(16000), shape: [1, 1, 16000], length: 16000, sampleRate: 16000 },
  ]);
  const prepared = conditioner.prepare(wav, { training: false });
  assert.deepEqual(prepared.input.shape, [1, 10, 2]); // 25 frames a second
  assert.deepEqual(forward(conditioner, prepared).shape, [1, 2, 12]);
});
