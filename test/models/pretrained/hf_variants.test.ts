/** Stereo, melody, and a text encoder as wide as the decoder, in Hugging Face's layout (test/golden/hf_variants). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openSafetensors, type WeightsReader } from "../../../src/checkpoint/safetensors.ts";
import { collateWavs, nullWav, type WavCondition } from "../../../src/data/conditioning.ts";
import { crossBias } from "../../../src/models/conditioners/base.ts";
import type { PreparedConditions } from "../../../src/models/conditioners/provider.ts";
import { Generator } from "../../../src/models/lm/generation.ts";
import { hfFrames } from "../../../src/models/pretrained/index.ts";
import { loadT5Encoder } from "../../../src/models/t5/load.ts";
import { jit, type Tensor, tf } from "../../../src/runtime/index.ts";
import { type LoadedMusicGen, loadMusicGen } from "../../../src/solvers/trained.ts";
import { close } from "../../close.ts";

const folderOf = (name: string) =>
  fileURLToPath(new URL(`../../golden/hf_variants/${name}`, import.meta.url));

function tensor(file: WeightsReader, name: string): Tensor {
  const shape = [...file.shape(name)];
  return file.dtype(name) === "I32"
    ? (tf.tensor(file.read(name) as Int32Array, shape, "int32") as Tensor)
    : (tf.tensor(file.readFloat32(name), shape) as Tensor);
}

/** The golden texts and melodies; with `nulls`, the same rows without them after that. */
async function conditions(
  variant: string,
  { musicgen }: LoadedMusicGen,
  file: WeightsReader,
  { nulls = false, melody = true } = {},
): Promise<PreparedConditions> {
  const encoder = await loadT5Encoder(folderOf(variant));
  const ids = tensor(file, "input_ids");
  const mask = tensor(file, "attention_mask").toFloat() as Tensor;
  const hidden = jit((i: Tensor, m: Tensor) => encoder.forward(i, m))(ids, mask);
  const doubled = (x: Tensor) => (nulls ? (tf.concat([x, tf.zerosLike(x)], 0) as Tensor) : x);
  const prepared: PreparedConditions = {
    description: { input: doubled(hidden), mask: doubled(mask), crossBias: crossBias(ids.shape[1]!) },
  };
  const { self_wav } = musicgen.lm.conditionProvider.conditioners;
  if (self_wav) {
    const rows = wavsOf(file).map((wav) => (melody ? wav : nullWav(wav)));
    const batch = collateWavs(nulls ? [...rows, ...rows.map(nullWav)] : rows);
    prepared.self_wav = self_wav.prepare(batch as never, { training: false });
  }
  return prepared;
}

function wavsOf(file: WeightsReader): WavCondition[] {
  const [rows, , samples] = file.shape("wav");
  const wavs = file.readFloat32("wav");
  return Array.from({ length: rows }, (_, row) => ({
    wav: wavs.subarray(row * samples, (row + 1) * samples),
    shape: [1, 1, samples],
    length: samples,
    sampleRate: 32000,
    path: null,
    seekTime: null,
  }));
}

for (const variant of ["stereo", "melody", "square"]) {
  test(`${variant}: logits and greedy generation are transformers'`, async () => {
    const file = openSafetensors(`${folderOf(variant)}/outputs.safetensors`);
    const loaded = await loadMusicGen(folderOf(variant));
    const { lm, codec } = loaded.musicgen;
    const { n_q: books } = lm.config;
    const forward = jit((codes: Tensor, prepared: PreparedConditions) =>
      lm.forward(codes, lm.conditionProvider.forward(prepared)),
    );
    const codes = tensor(file, "decoder_input_ids").reshape([2, books, 6]) as Tensor;
    const logits = forward(codes, await conditions(variant, loaded, file));
    close(logits.dataSync(), file.readFloat32("logits"), 2e-5);
    if (variant === "melody") {
      const textOnly = forward(codes, await conditions(variant, loaded, file, { melody: false }));
      close(textOnly.dataSync(), file.readFloat32("text_only_logits"), 2e-5);
    }
    const streams = [await conditions(variant, loaded, file, { nulls: true })];
    const frames = hfFrames(14, books / codec.channels);
    const made = await new Generator(lm).generate({ guidance: "joint", streams }, 2, {
      ...{ use_sampling: false, temp: 1, top_k: 0, top_p: 0, seed: 0 },
      cfgCoef: 3,
      maxGenLen: frames,
    });
    const audio = codec.decode(tf.tensor3d(made.codes, [2, books, frames], "int32") as Tensor);
    assert.deepEqual(audio.shape, [...file.shape("greedy")]);
    close(audio.dataSync(), file.readFloat32("greedy"), 1e-5);
    file.close();
  });
}
