/**
 * Makes the embedded codec, assets/encodec_tiny_16khz.safetensors: fits a small EnCodec to the example music.
 *
 *   node --import tsx src/models/encodec/fit_tiny.ts --minutes 12
 *
 * Waveform and mel distance, no discriminator. First encoder and decoder learn together, with noise in the place of
 * quantization; then the encoder stays, the codebooks are fitted to its latents by k-means, and the decoder learns to
 * read them. Where the time limit is not reached, the same seed and steps see the same crops and noise in the same order.
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
import { attr, jit, runOp, type Tensor, tf, valueAndGradients } from "../../runtime/index.ts";
import { buildEncodec } from "./config.ts";
import { initializeCodebooks } from "./kmeans.ts";
import { MelDistance } from "./mel_distance.ts";
import type { EncodecNetwork } from "./model.ts";
import { generatorSampler } from "./vector_sampler.ts";

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
  steps: number;
  /** The phases and the learning rate's fall are hurried so that the run ends in this time. */
  minutes: number;
  batch: number;
  learningRate: number;
  path: string;
}

/** Share of the run in which encoder and decoder learn together. */
const togetherUntil = 0.6;
/** Deviation of the noise, in deviations of the latents: about that of the quantization to come. */
const noiseLevel = 0.4;
/** Clips of a second that the codebooks are fitted to. */
const codebookClips = 800;

export async function fitTiny(options: FitOptions): Promise<EncodecNetwork> {
  const random = new TorchGenerator(options.seed);
  const model = buildEncodec(tinyConfig, new InitializerStream(options.seed));
  const mel = new MelDistance(sampleRate);
  const clips = synthesizeAll("train");
  const heldOut = stack(synthesizeAll("valid").map((clip) => clip.subarray(0, 4 * sampleRate)));
  const evaluate = makeEvaluation(model, mel);
  const drawBatch = () => stack(Array.from({ length: options.batch }, () => crop(clips, random)));

  const started = Date.now();
  const progress = (done: number) =>
    Math.max(done / options.steps, (Date.now() - started) / (options.minutes * 60_000));
  let done = 0;
  let lastSaved = started;
  const finishCodebooks = () => {
    const random = new TorchGenerator(options.seed); // of its own, so that saving changes nothing that follows
    const latents = encodeClips(
      model,
      Array.from({ length: codebookClips }, () => crop(clips, random)),
    );
    const sample = generatorSampler(random);
    initializeCodebooks(model.quantizer, latents, { iterations: 30, sample, refill: true });
    latents.dispose();
  };
  const save = async () => {
    console.log(`step ${done}: ${evaluate(heldOut)}`);
    await saveEncodec(model, options.path, { steps: done, seed: options.seed });
    lastSaved = Date.now();
  };
  const runPhase = async (phase: Phase, from: number, until: number) => {
    const step = makeStep(model, mel, phase);
    const first = done;
    const sums = [0, 0, 0]; // over the last 100 steps
    for (let share = progress(done); share < until; share = progress(done)) {
      const wav = drawBatch();
      const rate = rateAt((share - from) / (until - from), done - first, options.learningRate);
      const loss = step(wav, rate, [options.seed, done]);
      for (const [i, value] of loss.dataSync().entries()) sums[i] += value;
      tf.dispose([wav, loss]);
      if (++done % 100 === 0) {
        const [total, waveform, spectral] = sums.map((sum) => (sum / 100).toFixed(4));
        const seconds = ((Date.now() - started) / 1000).toFixed(0);
        console.log(
          `${phase}, step ${done} (${seconds} s): loss ${total}, waveform ${waveform}, mel ${spectral}`,
        );
        sums.fill(0);
      }
      if (Date.now() - lastSaved > 60_000) {
        if (phase === "together") finishCodebooks();
        await save();
      }
    }
  };

  await runPhase("together", 0, togetherUntil);
  finishCodebooks();
  console.log(`codebooks made at step ${done}: ${evaluate(heldOut)}`);
  await runPhase("decoder", togetherUntil, 1);
  await save();
  return model;
}

type Phase = "together" | "decoder";

/** Forward, backward and Adam in one jitted function: wav [B, T], rate, seed of the noise -> [loss, waveform, mel]. */
function makeStep(model: EncodecNetwork, mel: MelDistance, phase: Phase) {
  const named = model
    .namedParameters()
    .filter(
      ([name, parameter]) => parameter.trainable && (phase === "together" || name.startsWith("decoder.")),
    );
  const parameters = named.map(([, parameter]) => parameter);
  const optimizer = buildOptimizer("adam", named, { betas: [0.8, 0.99], weight_decay: 0, eps: 1e-8 });
  const update = jit(
    (wav: Tensor, hyper: Record<string, Tensor>, seed: Tensor) => {
      const { loss, aux, gradients } = valueAndGradients(() => {
        const latents = model.encoder.forward(wav.expandDims(2));
        const { disturbed, penalty } =
          phase === "together"
            ? disturb(latents, seed)
            : { disturbed: model.quantizer.forward(latents).quantized, penalty: tf.scalar(0) };
        const decoded = model.decoder.forward(disturbed).squeeze([2]);
        const waveform = tf.mean(tf.abs(tf.sub(decoded, wav)));
        const spectral = mel.distance(decoded, wav);
        return {
          loss: tf.addN([waveform, spectral, penalty]),
          aux: { waveform, spectral },
        };
      }, parameters);
      optimizer.apply(gradients, clipByGlobalNorm(gradients, 1).scale, hyper);
      return tf.stack([loss, aux.waveform, aux.spectral]);
    },
    { name: `fit_${phase}`, mode: "graph" },
  );
  return (wav: Tensor, rate: number, seed: [number, number]) =>
    tf.tidy(() => {
      const hyper = Object.entries(optimizer.nextHyper(rate)).map(([name, value]) => [
        name,
        tf.scalar(value),
      ]);
      return update(wav, Object.fromEntries(hyper), tf.tensor1d(seed, "int32"));
    });
}

/**
 * Noise in the place of quantization: latents [B, T, D] plus noise in proportion to their deviation over everything, as a
 * codebook errs by the same amount in every direction; and a penalty that keeps their mean near 0 and deviation near 1.
 */
function disturb(latents: Tensor, seed: Tensor): { disturbed: Tensor; penalty: Tensor } {
  const mean = tf.mean(latents, [0, 1], true);
  const deviation = tf.sqrt(tf.add(tf.mean(tf.square(tf.sub(latents, mean))), 1e-8));
  const attrs = { dtype: attr.type("float32"), T: attr.type("int32"), Tseed: attr.type("int32") };
  const [noise] = runOp("StatelessRandomNormal", [tf.tensor1d(latents.shape, "int32"), seed], attrs);
  return {
    disturbed: tf.add(latents, tf.mul(noise, tf.mul(deviation, noiseLevel))),
    penalty: tf.mul(tf.add(tf.mean(tf.square(mean)), tf.square(tf.sub(deviation, 1))), 0.1),
  };
}

/** Waves of a second -> their latents [N, D] */
function encodeClips(model: EncodecNetwork, waves: Float32Array[]): Tensor {
  const encode = jit((wav: Tensor) => model.encoder.forward(wav.expandDims(2)), { mode: "graph" });
  const latents = tf.tidy(() => {
    const parts: Tensor[] = [];
    for (let i = 0; i < waves.length; i += 50) {
      parts.push(tf.tidy(() => encode(stack(waves.slice(i, i + 50)))));
    }
    return tf.concat(parts).reshape([-1, tinyConfig.seanet.dimension]);
  });
  encode.dispose();
  return latents;
}

/** Linear warm-up, then half a cosine. */
function rateAt(share: number, done: number, peak: number): number {
  return peak * Math.min(1, (done + 1) / 100) * ((1 + Math.cos(Math.PI * share)) / 2);
}

/** Text about how well clips [N, T] survive coding: signal to noise, mel distance, entries in use. */
function makeEvaluation(model: EncodecNetwork, mel: MelDistance): (wav: Tensor) => string {
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
  model: EncodecNetwork,
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
      steps: { type: "string", default: "8000" },
      seed: { type: "string", default: "1234" },
      batch: { type: "string", default: "4" },
      lr: { type: "string", default: "3e-3" },
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
