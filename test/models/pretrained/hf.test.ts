/** Models in Hugging Face's layout, loaded as users load them, against transformers (test/golden/hf_musicgen_tiny). */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { openSafetensors, type TensorSource, writeSafetensors } from "../../../src/checkpoint/safetensors.ts";
import { crossBias } from "../../../src/models/conditioners/base.ts";
import type { PreparedConditions } from "../../../src/models/conditioners/provider.ts";
import { Generator } from "../../../src/models/lm/generation.ts";
import { hfFrames } from "../../../src/models/pretrained/index.ts";
import { loadT5Encoder } from "../../../src/models/t5/load.ts";
import { jit, type Tensor, tf } from "../../../src/runtime/index.ts";
import { type LoadedMusicGen, loadMusicGen } from "../../../src/solvers/trained.ts";
import { close } from "../../close.ts";

const golden = fileURLToPath(new URL("../../golden/hf_musicgen_tiny", import.meta.url));
const folder = join(golden, "model");
const outputs = openSafetensors(join(golden, "outputs.safetensors"));
const scratch = mkdtempSync(join(tmpdir(), "musicgen-hf-"));
let loaded: LoadedMusicGen;
let texts: Tensor;

before(async () => {
  loaded = await loadMusicGen(folder);
  const encoder = await loadT5Encoder(folder);
  texts = jit((ids: Tensor, mask: Tensor) => encoder.forward(ids, mask))(
    tensor("input_ids"),
    tensor("attention_mask").toFloat() as Tensor,
  );
});
after(() => rmSync(scratch, { recursive: true, force: true }));

function tensor(name: string): Tensor {
  const shape = [...outputs.shape(name)];
  return outputs.dtype(name) === "I32"
    ? (tf.tensor(outputs.read(name) as Int32Array, shape, "int32") as Tensor)
    : (tf.tensor(outputs.readFloat32(name), shape) as Tensor);
}

/** The golden texts, which have no tokenizer; `nulls` rows without text after them. */
function conditions(rows: number, nulls = 0): PreparedConditions {
  const [, length, width] = texts.shape as number[];
  const take = (x: Tensor) => tf.slice(x, 0, rows);
  const mask = take(tensor("attention_mask").toFloat() as Tensor);
  return {
    description: {
      input: tf.concat([take(texts), tf.zeros([nulls, length, width])], 0),
      mask: tf.concat([mask, tf.zeros([nulls, length])], 0),
      crossBias: crossBias(length),
    },
  } as PreparedConditions;
}

const greedy = { use_sampling: false, temp: 1, top_k: 0, top_p: 0, seed: 0 };

async function generated(rows: number, frames: number, cfgCoef: number, prompt?: string) {
  const guided = cfgCoef !== 1;
  const streams = {
    guidance: guided ? ("joint" as const) : ("none" as const),
    streams: [conditions(rows, guided ? rows : 0)],
  };
  const codes = prompt ? (outputs.read(prompt) as Int32Array) : null;
  const made = await new Generator(loaded.musicgen.lm).generate(streams, rows, {
    ...greedy,
    cfgCoef,
    maxGenLen: frames,
    prompt: codes && { codes, frames: outputs.shape(prompt!).at(-1)! },
  });
  return made.codes;
}

test("the text encoder in the file gives transformers' hidden states", () => {
  const mask = tensor("attention_mask").toFloat().expandDims(-1);
  close(tf.mul(texts, mask).dataSync(), tf.mul(tensor("text_hidden"), mask).dataSync(), 2e-5);
});

test("logits are transformers', with the padding of texts hidden from cross-attention", () => {
  const { lm } = loaded.musicgen;
  const [rows, steps] = outputs.shape("decoder_input_ids");
  const codes = tensor("decoder_input_ids").reshape([rows / 4, 4, steps]) as Tensor;
  const forward = jit((c: Tensor, prepared: PreparedConditions) =>
    lm.forward(c, lm.conditionProvider.forward(prepared)),
  );
  const logits = forward(codes, conditions(2)).reshape([rows, steps, -1]);
  close(logits.dataSync(), outputs.readFloat32("logits"), 2e-5);
});

for (const guidance of [3, 1]) {
  test(`greedy generation with guidance ${guidance} gives transformers' codes, in hfFrames(40) = 37 frames`, async () => {
    const name = `gen.greedy_g${guidance}.codes`;
    assert.equal(hfFrames(40, 4), outputs.shape(name).at(-1));
    assert.deepEqual(await generated(2, hfFrames(40, 4), guidance), outputs.read(name));
  });
}

test("a prompt is continued as transformers continues it", async () => {
  const frames = hfFrames(40, 4, 10);
  assert.deepEqual(await generated(2, frames, 3, "gen.prompt.encoded"), outputs.read("gen.prompt.codes"));
});

test("the codec in the file decodes and encodes as transformers' does", () => {
  const { codec } = loaded.musicgen;
  const [, batch, books, frames] = outputs.shape("dec.codes");
  const codes = tensor("dec.codes").reshape([batch, books, frames]) as Tensor;
  close(codec.decode(codes).dataSync(), outputs.readFloat32("dec.audio"), 1e-5);
  const prompt = codec.encode(tensor("gen.prompt.input_values")).codes;
  assert.deepEqual(prompt.dataSync(), outputs.read("gen.prompt.encoded"));
});

test("generation defaults are those of generation_config.json, with transformers' top_k of 50", () => {
  const { cfg } = loaded;
  assert.equal(cfg.classifier_free_guidance.inference_coef, 3);
  assert.equal(cfg.generate.lm.top_k, 50);
  assert.equal(cfg.dataset.segment_duration, 30);
});

test("weight_g and weight_v, as the hub's older files name the parts of normed weights, load as well", async () => {
  const old = await edited("legacy", (name) =>
    name
      .replace("parametrizations.weight.original0", "weight_g")
      .replace("parametrizations.weight.original1", "weight_v"),
  );
  const { musicgen } = await loadMusicGen(old);
  const codes = tf.zeros([1, 4, 5], "int32") as Tensor;
  close(musicgen.codec.decode(codes).dataSync(), loaded.musicgen.codec.decode(codes).dataSync(), 0);
});

test("tensors that are missing, unexpected or of another shape are listed by their names in the file", async () => {
  const broken = await edited("broken", (name) => {
    if (name.endsWith("layers.1.self_attn.k_proj.weight")) return null;
    return name === "decoder.lm_heads.2.weight" ? "decoder.lm_heads.9.weight" : name;
  });
  await assert.rejects(
    loadMusicGen(broken),
    /missing: .*layers\.1\.self_attn\.k_proj\.weight.*lm_heads\.2\.weight.*unexpected: decoder\.lm_heads\.9\.weight/,
  );
});

/** A copy of the golden folder with tensors renamed, or left out. */
async function edited(name: string, rename: (name: string) => string | null): Promise<string> {
  const copy = join(scratch, name);
  cpSync(folder, copy, { recursive: true });
  rmSync(join(copy, "model.safetensors"));
  const reader = openSafetensors(join(folder, "model.safetensors"));
  const tensors = reader.names.flatMap((old): TensorSource[] => {
    const to = rename(old);
    if (to === null) return [];
    return [{ name: to, dtype: reader.dtype(old), shape: reader.shape(old), data: () => reader.read(old) }];
  });
  await writeSafetensors(join(copy, "model.safetensors"), tensors);
  reader.close();
  return copy;
}

test("a model of another kind is refused by its model_type", async () => {
  const copy = join(scratch, "other");
  cpSync(folder, copy, { recursive: true });
  writeFileSync(join(copy, "config.json"), '{"model_type": "bark"}');
  await assert.rejects(loadMusicGen(copy), /model_type "bark"/);
});
