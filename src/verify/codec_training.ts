/** Training steps of AudioCraft's EnCodec: the forward pass, gradients, and the codebooks after each step. */
import { l1 } from "../losses/distance.ts";
import { initializeCodebooks, isInitialized, kmeans } from "../models/encodec/kmeans.ts";
import {
  type QuantizerTrainingOptions,
  quantizerTrainingOptions,
  trainingForward,
} from "../models/encodec/training.ts";
import type { VectorSampler } from "../models/encodec/vector_sampler.ts";
import { jit, type Tensor, tf, valueAndGradients } from "../runtime/index.ts";
import { verifyBalancer, verifyToyBalancer } from "./balancer.ts";
import { type Checks, check, once, worstOf } from "./check.ts";
import { type Codec, codecOf, codecTolerance, wrongCodes } from "./codec.ts";
import { gradientTolerance, lossTolerance, verifyLosses } from "./codec_losses.ts";
import { maxDifference, maxRelative, mismatches, relativeL2 } from "./compare.ts";
import { verifyOtherDiscriminator, verifySTFTDiscriminator } from "./discriminators.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { readTensor, tensorOf } from "./tensors.ts";

/** Of codebooks and their statistics. */
const stateTolerance = 1e-5;

interface StepResult {
  reconstruction: Tensor;
  codes: Tensor;
  penalty: Tensor;
  loss: Tensor;
  gradients: Tensor[];
}

/** Everything that training has to reproduce. */
export async function* verifyCodecTraining(folder: GoldenFolder, config: Json): Checks {
  const rvq = config.rvq as Json;
  const codecWith = (weights: string) => codecOf(config, folder.tensors(weights));
  const { names } = folder.tensors("outputs");
  for (const step of [1, 2, 3]) {
    if (names.some((name) => name.startsWith(`step${step}.`))) {
      yield* verifyStep(folder, step, codecWith, rvq);
    }
  }
  if (folder.has("kmeans.safetensors")) yield* verifyKMeans(folder, rvq.kmeans_iters as number);
  if (folder.has("losses.safetensors")) yield* verifyLosses(folder, config);
  if (folder.has("msstftd.safetensors")) yield* verifySTFTDiscriminator(folder, config);
  for (const name of ["mpd", "msd"] as const) {
    if (folder.has(`${name}.safetensors`)) yield* verifyOtherDiscriminator(folder, name);
  }
  if (folder.has("balancer.safetensors")) yield* verifyBalancer(folder, config);
  if (folder.has("balancer_toy.safetensors")) yield* verifyToyBalancer(folder);
}

/**
 * step1 makes the codebooks and is then a step like the others; step2 has gradients of mean |difference| + penalty; step3 hears
 * the wave at half its volume. The random vectors are the recorded ones. The peer also draws new vectors for dead entries, which
 * its update then overwrites: none of them is ever seen, so here dead entries stay.
 */
async function* verifyStep(
  folder: GoldenFolder,
  step: number,
  codecWith: (weights: string) => Codec,
  rvq: Json,
): Checks {
  const name = `step${step}`;
  const before = step === 1 ? "weights_init" : `state_after_step${step - 1}`;
  const read = (tensor: string) => tensorOf(folder, "outputs", `${name}.${tensor}`);
  const has = (tensor: string) => folder.tensors("outputs").has(`${name}.${tensor}`);
  const expected = (tensor: string) => folder.values("outputs", `${name}.${tensor}`);
  const options = quantizerTrainingOptions(rvq);
  const wav = once(() => tf.mul(tensorOf(folder, "outputs", "wav"), step === 3 ? 0.5 : 1) as Tensor);
  const codec = () => {
    const made = codecWith(before);
    if (!isInitialized(made.quantizer)) makeCodebooks(folder, name, made, options);
    return made;
  };
  const asked = once(codec);
  // What the step moves: the entries that decide on codes are those from before it.
  const moved = once(codec);
  const result = once(() => runStep(moved(), wav(), options.decay));
  const latents = once(() => asked().encodeLatent(wav()));
  if (has("encoder_out")) {
    yield await check(`${name}.encoder_out`, codecTolerance, () =>
      maxDifference(latents().dataSync(), expected("encoder_out")),
    );
  }
  yield await check(`${name}.codes`, 0, () => wrongCodes(result().codes, read("codes"), latents(), asked()));
  if (has("quantized")) {
    yield await check(`${name}.quantized`, codecTolerance, () =>
      maxDifference(asked().decodeLatent(result().codes).dataSync(), expected("quantized")),
    );
  }
  yield await check(`${name}.out`, codecTolerance, () =>
    maxDifference(result().reconstruction.dataSync(), expected("out")),
  );
  yield await check(`${name}.penalty`, lossTolerance, () =>
    maxRelative(result().penalty.dataSync(), expected("penalty")),
  );
  if (has("bandwidth")) {
    yield await check(`${name}.bandwidth`, lossTolerance, () =>
      maxRelative([asked().bandwidthOf(asked().totalCodebooks)], expected("bandwidth")),
    );
  }
  if (has("loss")) {
    yield await check(`${name}.loss`, lossTolerance, () =>
      maxRelative(result().loss.dataSync(), expected("loss")),
    );
  }
  if (folder.has(`${name}_grads.safetensors`)) {
    yield await check(`${name} gradients`, gradientTolerance, () => {
      const trainable = moved()
        .namedParameters()
        .filter(([, parameter]) => parameter.trainable);
      return worstOf(
        trainable.map(([parameter], i) => [
          parameter,
          relativeL2(result().gradients[i].dataSync(), folder.values(`${name}_grads`, parameter)),
        ]),
      );
    });
  }
  yield await check(`state after ${name}`, stateTolerance, () => {
    result();
    return worstOf(
      moved()
        .namedParameters()
        .map(([parameter, variable]) => [
          parameter,
          maxDifference(variable.read(), folder.values(`state_after_${name}`, parameter)),
        ]),
    );
  });
}

/**
 * K-means of the wave's latents. Which vectors make a cluster hangs on their last digits, so the peer's own latents are taken,
 * which it recorded in the second step, with the same weights.
 */
function makeCodebooks(
  folder: GoldenFolder,
  step: string,
  codec: Codec,
  { kmeansIterations: iterations, deadThreshold }: QuantizerTrainingOptions,
): void {
  const latents = folder.tensors("outputs").has("step2.encoder_out")
    ? tensorOf(folder, "outputs", "step2.encoder_out")
    : codec.encodeLatent(tensorOf(folder, "outputs", "wav"));
  const rows = tf.transpose(latents, [0, 2, 1]).reshape([-1, latents.shape[1]!]) as Tensor;
  const sample = recordedSampler(folder, step, codec, deadThreshold);
  initializeCodebooks(codec.quantizer, rows, { iterations, sample, sums: "entries" });
}

/**
 * The recorded draws, in the order of the peer's calls: a codebook's first vectors, then, if any of its entries is dead, what
 * would replace them, which is passed over.
 */
function recordedSampler(
  folder: GoldenFolder,
  step: string,
  codec: Codec,
  deadThreshold: number,
): VectorSampler {
  let next = 0;
  return (_vectors, _count, k) => {
    if (k > 0) {
      const sizes = codec.quantizer.codebooks[k - 1].clusterSize.read();
      if (sizes.some((size: number) => size < deadThreshold)) next++;
    }
    return tensorOf(folder, "outputs", `${step}.sample_vectors.${next++}`);
  };
}

/** One jitted step that moves the codebooks. */
function runStep(codec: Codec, wav: Tensor, decay: number): StepResult {
  const variables = codec.parameters();
  const step = jit(
    (batch: Tensor) => {
      const { loss, aux, gradients } = valueAndGradients(() => {
        const learning = { decay, deadThreshold: 0, sample: (vectors: Tensor) => vectors };
        const aux = trainingForward(codec, batch, { learning });
        return { loss: tf.add(l1(aux.reconstruction, batch), aux.penalty) as Tensor, aux };
      }, variables);
      return { ...aux, loss, gradients: gradients as Tensor[] };
    },
    { name: "codec_step" },
  );
  return step(wav);
}

/** K-means alone. */
async function* verifyKMeans(folder: GoldenFolder, iterations: number): Checks {
  const read = (name: string) => readTensor(folder.tensors("kmeans"), name);
  const result = once(() => kmeans(read("samples"), read("init_means"), iterations));
  yield await check("kmeans means", stateTolerance, () =>
    maxDifference(result().means.dataSync(), folder.values("kmeans", "means")),
  );
  yield await check("kmeans bins", 0, () =>
    mismatches(result().counts.dataSync(), folder.values("kmeans", "bins")),
  );
}
