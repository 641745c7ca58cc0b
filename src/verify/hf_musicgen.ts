/** A whole MusicGen of Hugging Face's layout against transformers: hidden states, logits, loss, generation, codec. */
import { openSafetensors, type WeightsReader } from "../checkpoint/safetensors.ts";
import { crossEntropyPerCodebook } from "../losses/cross_entropy.ts";
import { InterleaveStereoCompressionModel } from "../models/compression.ts";
import type { PreparedConditions } from "../models/conditioners/provider.ts";
import { EncodecCompressionModel } from "../models/encodec/compression.ts";
import { buildHfEncodec } from "../models/encodec/config.ts";
import { loadEncodec } from "../models/encodec/weights.ts";
import type { MusicGenLM } from "../models/lm/lm.ts";
import { hfNames } from "../models/pretrained/hf_names.ts";
import { loadHfWeights } from "../models/pretrained/index.ts";
import { parseT5Config } from "../models/t5/config.ts";
import { T5Encoder } from "../models/t5/encoder.ts";
import { namesInFile } from "../models/t5/load.ts";
import { InitializerStream, loadState, sinusoidalEmbedding } from "../nn/index.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../runtime/index.ts";
import { type Checks, check, once } from "./check.ts";
import { type Codec, values, wrongCodes } from "./codec.ts";
import { maxDifference, maxRelative, mismatches } from "./compare.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { hfConfig, hfLanguageModel } from "./hf_model.ts";
import { gradientError } from "./lm.ts";
import {
  type GoldenCondition,
  prepareRows,
  providerOf,
  recordedFeatures,
  rowsOf,
  textCondition,
} from "./lm_conditions.ts";
import { tensorOf } from "./tensors.ts";

export const hfTolerances = { hidden: 2e-5, ce: 1e-6, gradient: 1e-5, audio: 1e-5, latent: 5e-6 };

export interface HfGolden {
  lm: MusicGenLM;
  conditions: GoldenCondition[];
  encoder: T5Encoder;
  codec: Codec;
  /** Codes to audio and back, channels interleaved where the model is stereo. */
  compression: EncodecCompressionModel | InterleaveStereoCompressionModel;
  padToken: number;
}

export async function* verifyHfMusicGen(folder: GoldenFolder): Checks {
  const own = folder.files.filter((file) => /^model.*\.safetensors$/.test(file));
  const model = once(() => loadGolden(folder, openSafetensors(folder.file("model/model.safetensors"))));
  yield* verifyHidden(folder, model, "");
  if (folder.has("loss_grads.safetensors")) yield* verifyLossGradients(folder, model);
  yield* (await import("./hf_generation.ts")).verifyHfGeneration(folder, model);
  yield* verifyCodec(folder, model, "");
  // the same weights under other names
  for (const file of own) {
    const name = file.slice(0, -".safetensors".length);
    const other = once(() => loadGolden(folder, folder.tensors(name)));
    yield* verifyHidden(folder, other, `${name}: `);
    yield* verifyCodec(folder, other, `${name}: `);
  }
}

function loadGolden(folder: GoldenFolder, weights: WeightsReader): HfGolden {
  const path = folder.file("model/config.json");
  const config = folder.json("model/config.json");
  const generation = folder.has("model/generation_config.json")
    ? folder.json("model/generation_config.json")
    : {};
  const cfg = hfConfig(config, generation, path);
  const encoder = new T5Encoder(parseT5Config(config, path));
  loadState(encoder, weights, { rename: namesInFile(weights), ignore: () => true });
  const { dim, card } = cfg.transformer_lm;
  const conditions = [description(folder, encoder, config, dim)];
  if (config.model_type === "musicgen_melody") {
    const classes = (config.num_chroma as number | undefined) ?? 12;
    conditions.push(recordedFeatures("self_wav", classes, dim, () => melody(folder)));
  }
  const lm = hfLanguageModel(cfg, providerOf(conditions));
  loadHfWeights(lm, weights);
  const codec = buildHfEncodec(config.audio_encoder as Json, new InitializerStream(0));
  loadEncodec(codec, weights, { prefix: "audio_encoder." });
  const mono = new EncodecCompressionModel(codec);
  const compression = cfg.channels === 2 ? new InterleaveStereoCompressionModel(mono) : mono;
  return { lm, conditions, encoder, codec, compression, padToken: card };
}

function description(folder: GoldenFolder, encoder: T5Encoder, config: Json, dim: number): GoldenCondition {
  const tokens = rowsOf(folder, "outputs", "input_ids");
  const masks = folder.tensors("outputs").has("attention_mask")
    ? rowsOf(folder, "outputs", "attention_mask")
    : tokens.map((row) => row.map(() => 1));
  return textCondition("description", encoder, { tokens, masks, config: config.text_encoder as Json }, dim);
}

/** The chroma that transformers' feature extractor made, [B, frames, classes]. */
function melody(folder: GoldenFolder): Tensor {
  const name = ["input_features", "audio_features"].find((each) => folder.tensors("outputs").has(each));
  if (name === undefined) throw new Error("outputs.safetensors holds no input_features");
  return tensorOf(folder, "outputs", name);
}

/** The conditions of all rows. */
export function batchOf({ conditions }: HfGolden, folder: GoldenFolder): PreparedConditions {
  const [rows] = folder.tensors("outputs").shape("input_ids");
  return prepareRows(
    conditions,
    Array.from({ length: rows }, (_, row) => row),
  );
}

async function* verifyHidden(folder: GoldenFolder, model: () => HfGolden, prefix: string): Checks {
  const outputs = folder.tensors("outputs");
  const read = (name: string) => tensorOf(folder, "outputs", name);
  const compare = (name: string, compute: () => ArrayLike<number>, tolerance = hfTolerances.hidden) =>
    check(prefix + name, tolerance, () => maxDifference(compute(), folder.values("outputs", name)));
  const batch = once(() => batchOf(model(), folder));
  const conditions = () => model().lm.conditionProvider.forward(batch());
  for (const name of ["text_hidden", "encoder_hidden_proj_in"]) {
    if (outputs.has(name)) yield await compare(name, () => batch().description.input.dataSync());
  }
  if (outputs.has("cross_states")) {
    yield await compare("cross_states", () => conditions().description.embedding.dataSync());
  }
  const sequence = () =>
    read("decoder_input_ids").reshape([-1, model().lm.config.n_q, width(outputs, "decoder_input_ids")]);
  if (outputs.has("decoder_input_ids") && outputs.has("logits")) {
    yield await compare("logits", () => logitsOf(model().lm, sequence(), batch()));
    for (const name of outputs.names.filter((each) => /^decoder_hidden\.\d+$/.test(each))) {
      const layers = Number(name.split(".")[1]);
      yield await compare(name, () => hiddenAfter(layers, model().lm, sequence(), batch()));
    }
  }
  const [sinusoids] = outputs.names.filter((name) => /^sin_weights/.test(name));
  if (sinusoids !== undefined) {
    yield await compare(sinusoids, () => {
      const [positions, dim] = outputs.shape(sinusoids);
      return sinusoidalEmbedding(tf.range(0, positions, 1, "float32"), dim).dataSync();
    });
  }
  if (outputs.has("labels") && outputs.has("loss")) {
    yield await check(`${prefix}loss`, hfTolerances.ce, () =>
      maxRelative(lossOf(folder, model(), batch()).dataSync(), folder.values("outputs", "loss")),
    );
    if (outputs.has("loss_logits")) {
      yield await compare("loss_logits", () => {
        const { codes } = labelled(folder, model());
        return logitsOf(model().lm, codes, batch());
      });
    }
  }
}

/** logits [B, K, S, card] */
export function logitsOf(lm: MusicGenLM, codes: Tensor, batch: PreparedConditions): Float32Array {
  const forward = jit((tokens: Tensor, conditions: PreparedConditions) =>
    lm.forward(tokens, lm.conditionProvider.forward(conditions)),
  );
  return forward(codes, batch as never).dataSync() as Float32Array;
}

/**
 * The hidden states [B, S, D] that `count` layers give; of all layers, normalized, as transformers lists them. The layers
 * behind are taken out for the while.
 */
function hiddenAfter(
  count: number,
  lm: MusicGenLM,
  codes: Tensor,
  batch: PreparedConditions,
): ArrayLike<number> {
  const { layers } = lm.transformer;
  const all = layers.length;
  const { input, cross } = lm.fuser.fuse(lm.embed(codes), lm.conditionProvider.forward(batch));
  const behind = layers.splice(count);
  try {
    const hidden = lm.transformer.forward(input, cross);
    return (count === all ? lm.outNorm!.forward(hidden) : hidden).dataSync();
  } finally {
    layers.push(...behind);
  }
}

/** transformers' labels int32 [B, S, K] -> what the decoder gets (a step behind) and predicts [B, K, S], and what counts. */
function labelled(folder: GoldenFolder, { padToken }: HfGolden) {
  const labels = tf.transpose(tensorOf(folder, "outputs", "labels"), [0, 2, 1]) as Tensor;
  const [batch, codebooks, steps] = labels.shape as [number, number, number];
  // -100 is transformers' label of what does not count; neither does padding
  const counts = tf.logicalAnd(tf.greaterEqual(labels, 0), tf.notEqual(labels, padToken));
  const known = tf.where(counts, labels, tf.fill(labels.shape, padToken, "int32")) as Tensor;
  const start = tf.fill([batch, codebooks, 1], padToken, "int32");
  const codes = tf.concat([start, tf.slice(known, [0, 0, 0], [batch, codebooks, steps - 1])], 2) as Tensor;
  const targets = tf.where(counts, labels, tf.zerosLike(labels)) as Tensor;
  return { codes, targets, mask: counts.toFloat() as Tensor };
}

function lossOf(folder: GoldenFolder, golden: HfGolden, batch: PreparedConditions): Tensor {
  const { lm } = golden;
  const { codes, targets, mask } = labelled(folder, golden);
  const logits = lm.forward(codes, lm.conditionProvider.forward(batch));
  return crossEntropyPerCodebook(logits, targets, mask).ce;
}

/** Gradients of the loss under transformers' names: a packed projection is three of theirs. */
async function* verifyLossGradients(folder: GoldenFolder, model: () => HfGolden): Checks {
  const expected = folder.tensors("loss_grads");
  yield await check("gradients", hfTolerances.gradient, () => {
    const golden = model();
    const batch = batchOf(golden, folder);
    const parameters = golden.lm.namedParameters().filter(([, parameter]) => parameter.trainable);
    const gradients = jit(
      () =>
        valueAndGradients(
          () => ({ loss: lossOf(folder, golden, batch), aux: {} }),
          parameters.map(([, parameter]) => parameter),
        ).gradients,
    )();
    const ours = new Map<string, ArrayLike<number>>();
    for (const [i, [name]] of parameters.entries()) {
      // the decoder's names stand without its prefix
      const names = (hfNames(name) ?? [name]).map((each) => each.replace(/^decoder\.(?=model|lm_heads)/, ""));
      const gradient = gradients[i]?.dataSync() as Float32Array | undefined;
      const size = (gradient?.length ?? 0) / names.length;
      for (const [part, theirs] of names.entries()) {
        if (gradient) ours.set(theirs, gradient.subarray(part * size, (part + 1) * size));
      }
    }
    const unexpected = [...ours.keys()].filter((name) => !expected.has(name));
    if (unexpected.length > 0) throw new Error(`there is no golden gradient of ${unexpected[0]}`);
    return gradientError(expected, ours);
  });
}

/** `dec.codes` to `dec.audio`; `enc.wav` to `enc.latent` and `enc.codes`. */
async function* verifyCodec(folder: GoldenFolder, model: () => HfGolden, prefix: string): Checks {
  const outputs = folder.tensors("outputs");
  const read = (name: string) => tensorOf(folder, "outputs", name);
  const codesOf = (name: string) => read(name).squeeze([0]) as Tensor;
  if (outputs.has("dec.codes")) {
    yield await check(`${prefix}dec.audio`, hfTolerances.audio, () =>
      maxDifference(
        values(() => model().compression.decode(codesOf("dec.codes"))),
        folder.values("outputs", "dec.audio"),
      ),
    );
  }
  if (!outputs.has("enc.wav")) return;
  if (outputs.has("enc.latent")) {
    yield await check(`${prefix}enc.latent`, hfTolerances.latent, () =>
      maxDifference(
        values(() => model().codec.encodeLatent(read("enc.wav"))),
        folder.values("outputs", "enc.latent"),
      ),
    );
    yield await check(`${prefix}enc.codes`, 0, () => {
      const { codes } = model().compression.encode(read("enc.wav"));
      return wrongCodes(codes, codesOf("enc.codes"), read("enc.latent"), model().codec);
    });
  } else {
    yield await check(`${prefix}enc.codes`, 0, () => {
      const { codes } = model().compression.encode(read("enc.wav"));
      return mismatches(codes.dataSync(), folder.values("outputs", "enc.codes"));
    });
  }
}

function width(outputs: WeightsReader, name: string): number {
  return outputs.shape(name).at(-1)!;
}
