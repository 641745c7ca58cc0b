/**
 * Makes the embedded codec, assets/encodec_tiny_16khz.safetensors: fits a small EnCodec to the example music.
 *
 *   node --import tsx src/models/encodec/fit_tiny.ts --minutes 12
 *
 * Waveform and mel distance, no discriminator; codebooks by k-means over recent latents, renewed as the encoder moves.
 * The same seed and number of steps see the same crops in the same order.
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeSafetensors } from "../../checkpoint/safetensors.ts";
import { exampleSpecs } from "../../data/example/specs.ts";
import { synthesizeClip } from "../../data/example/synthesize.ts";
import { InitializerStream } from "../../nn/index.ts";
import { buildOptimizer, clipByGlobalNorm } from "../../optim/index.ts";
import { TorchGenerator } from "../../random/mt19937.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../../runtime/index.ts";
import { buildEncodec } from "./config.ts";
import { fitCodebooks } from "./kmeans.ts";
import { MelDistance } from "./mel_distance.ts";
import type { EncodecModel } from "./model.ts";

const sampleRate = 16000;

/** 25 frames a second, 4 codebooks of 256 entries: 0.8 kbit/s. */
export const tinyConfig = {
  encodec: {
    autoencoder: "seanet",
    quantizer: "rvq",
    sample_rate: sampleRate,
    channels: 1,
    causal: false,
    renormalize: false,
  },
  seanet: {
    dimension: 32,
    channels: 1,
    causal: false,
    n_filters: 8,
    n_residual_layers: 1,
    ratios: [8, 5, 4, 4],
    activation: "ELU",
    activation_params: { alpha: 1 },
    norm: "weight_norm",
    norm_params: {},
    kernel_size: 7,
    residual_kernel_size: 3,
    last_kernel_size: 7,
    dilation_base: 2,
    pad_mode: "constant",
    true_skip: true,
    compress: 2,
    lstm: 1,
    disable_norm_outer_blocks: 0,
    encoder: { lstm: 0 },
    decoder: { trim_right_ratio: 1, final_activation: null, final_activation_params: null },
  },
  rvq: { n_q: 4, bins: 256, decay: 0.99, kmeans_init: true, kmeans_iters: 50, threshold_ema_dead_code: 2 },
};

interface FitOptions {
  seed: number;
  /** The learning rate falls to 0 over this many steps. */
  steps: number;
  /** Stops early after this time. */
  minutes: number;
  batch: number;
  learningRate: number;
  path: string;
}

/** Shares of the run: without quantization, then codebooks renewed, then codebooks fixed. */
const quantizeFrom = 0.15;
const renewUntil = 0.85;
const renewEvery = 10;
/** Batches whose latents the codebooks are fitted to. */
const recentBatches = 20;

export async function fitTiny(options: FitOptions): Promise<EncodecModel> {
  const random = new TorchGenerator(options.seed);
  const model = buildEncodec(tinyConfig, new InitializerStream(options.seed));
  const mel = new MelDistance(sampleRate);
  const clips = synthesizeAll("train");
  const heldOut = stack(synthesizeAll("valid").map((clip) => clip.subarray(0, 4 * sampleRate)));
  const step = makeStep(model, mel);
  const evaluate = makeEvaluation(model, mel);
  const recent: Tensor[] = [];
  const started = Date.now();
  let lastSaved = started;
  let done = 0;
  while (done < options.steps && Date.now() - started < options.minutes * 60_000) {
    const share = done / options.steps;
    const quantize = share >= quantizeFrom;
    const isFirst = quantize && model.quantizer.codebooks[0].inited.read()[0] === 0;
    if (isFirst || (quantize && share < renewUntil && done % renewEvery === 0)) {
      const latents = tf.concat(recent);
      fitCodebooks(model.quantizer, latents, { iterations: isFirst ? 30 : 2, random, restart: isFirst });
      latents.dispose();
    }
    const wav = stack(Array.from({ length: options.batch }, () => crop(clips, random)));
    const { loss, latents } = step(wav, rateAt(share, done, options.learningRate), quantize);
    recent.push(latents);
    if (recent.length > recentBatches) recent.shift()!.dispose();
    if (done % 100 === 0) {
      const [total, waveform, spectral] = loss.dataSync();
      const seconds = ((Date.now() - started) / 1000).toFixed(0);
      console.log(
        `step ${done} (${seconds} s): loss ${total.toFixed(4)}, waveform ${waveform.toFixed(4)}, mel ${spectral.toFixed(4)}`,
      );
    }
    tf.dispose([wav, loss]);
    done++;
    if (Date.now() - lastSaved > 60_000 && model.quantizer.codebooks[0].inited.read()[0] === 1) {
      console.log(`step ${done}: ${evaluate(heldOut)}`);
      await saveEncodec(model, options.path, { steps: done, seed: options.seed });
      lastSaved = Date.now();
    }
  }
  if (model.quantizer.codebooks[0].inited.read()[0] === 0) {
    fitCodebooks(model.quantizer, tf.concat(recent), { iterations: 30, random, restart: true });
  }
  console.log(`step ${done}: ${evaluate(heldOut)}`);
  await saveEncodec(model, options.path, { steps: done, seed: options.seed });
  return model;
}

/** Forward, backward and Adam in one jitted function. */
function makeStep(model: EncodecModel, mel: MelDistance) {
  const named = model.namedParameters().filter(([, parameter]) => parameter.trainable);
  const parameters = named.map(([, parameter]) => parameter);
  const optimizer = buildOptimizer("adam", named, { betas: [0.8, 0.99], weight_decay: 0, eps: 1e-8 });
  const update = jit(
    (wav: Tensor, hyper: Record<string, Tensor>, quantize: boolean) => {
      const { loss, aux, gradients } = valueAndGradients(() => {
        const latents = model.encoder.forward(wav.expandDims(2));
        const coded = quantize
          ? model.quantizer.forward(latents)
          : { quantized: latents, penalty: tf.scalar(0) };
        const decoded = model.decoder.forward(coded.quantized).squeeze([2]);
        const waveform = tf.mean(tf.abs(tf.sub(decoded, wav)));
        const spectral = mel.distance(decoded, wav);
        const total = tf.addN([tf.mul(waveform, 10), spectral, coded.penalty]);
        return { loss: total, aux: { waveform, spectral, latents } };
      }, parameters);
      optimizer.apply(clipByGlobalNorm(gradients, 1).gradients, hyper);
      const [, , dimension] = aux.latents.shape;
      return {
        loss: tf.stack([loss, aux.waveform, aux.spectral]),
        latents: aux.latents.reshape([-1, dimension]),
      };
    },
    { name: "fit_step", mode: "graph" },
  );
  return (wav: Tensor, rate: number, quantize: boolean) => {
    const hyper = Object.fromEntries(
      Object.entries(optimizer.hyper(rate)).map(([name, value]) => [name, tf.scalar(value)]),
    );
    const result = update(wav, hyper, quantize);
    tf.dispose(hyper);
    return result;
  };
}

/** Linear warm-up, then half a cosine. */
function rateAt(share: number, done: number, peak: number): number {
  return peak * Math.min(1, (done + 1) / 100) * ((1 + Math.cos(Math.PI * share)) / 2);
}

/** Text about how well clips [N, T] survive coding: signal to noise, mel distance, entries in use. */
function makeEvaluation(model: EncodecModel, mel: MelDistance): (wav: Tensor) => string {
  const run = jit(
    (wav: Tensor) => {
      const { codes } = model.encode(wav.expandDims(1));
      const decoded = tf.slice(model.decode(codes).squeeze([1]), [0, 0], wav.shape);
      const noise = tf.sum(tf.square(tf.sub(decoded, wav)), 1);
      const snr = tf.mean(tf.log(tf.div(tf.sum(tf.square(wav), 1), tf.add(noise, 1e-9))));
      return { snr, distance: mel.distance(decoded, wav), codes };
    },
    { name: "fit_evaluate", mode: "graph" },
  );
  return (wav) =>
    tf.tidy(() => {
      const { snr, distance, codes } = run(wav);
      const used = tf.unstack(codes, 1).map((layer) => new Set(layer.dataSync()).size);
      const decibels = (10 / Math.LN10) * snr.dataSync()[0];
      return `held out: SNR ${decibels.toFixed(2)} dB, mel ${distance.dataSync()[0].toFixed(4)}, entries used ${used}` as never;
    }) as unknown as string;
}

/** Writes weights as F16 with AudioCraft's names, and the config in the metadata. */
async function saveEncodec(
  model: EncodecModel,
  path: string,
  fit: { steps: number; seed: number },
): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  const tensors = model.namedParameters().map(([name, parameter]) => ({
    name,
    dtype: "F16" as const,
    shape: parameter.shape,
    data: () => parameter.read() as Float32Array,
  }));
  await writeSafetensors(path, tensors, { config: JSON.stringify(tinyConfig), fit: JSON.stringify(fit) });
}

/** The example clips of a split, all at 16 kHz mono. */
function synthesizeAll(split: "train" | "valid"): Float32Array[] {
  return exampleSpecs()
    .filter((spec) => spec.split === split)
    .map((spec) => synthesizeClip({ ...spec, sampleRate, channels: 1 }).samples[0]);
}

/** One second from anywhere in any clip. */
function crop(clips: Float32Array[], random: TorchGenerator): Float32Array {
  const clip = clips[random.randint(clips.length)];
  const start = random.randint(clip.length - sampleRate + 1);
  return clip.subarray(start, start + sampleRate);
}

/** Waves of one length -> [N, T] */
function stack(waves: Float32Array[]): Tensor {
  const [{ length }] = waves;
  const all = new Float32Array(waves.length * length);
  for (const [i, wave] of waves.entries()) all.set(wave, i * length);
  return tf.tensor2d(all, [waves.length, length]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "12" },
      steps: { type: "string", default: "4000" },
      seed: { type: "string", default: "1234" },
      batch: { type: "string", default: "8" },
      lr: { type: "string", default: "2e-3" },
      out: {
        type: "string",
        default: fileURLToPath(new URL("../../../assets/encodec_tiny_16khz.safetensors", import.meta.url)),
      },
    },
  });
  await fitTiny({
    seed: Number(values.seed),
    steps: Number(values.steps),
    minutes: Number(values.minutes),
    batch: Number(values.batch),
    learningRate: Number(values.lr),
    path: values.out,
  });
}
