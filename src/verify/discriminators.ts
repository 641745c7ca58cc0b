/** The discriminators of codec training: what they answer, their losses, and two of their own updates. */
import { AdversarialLoss, Adversary } from "../losses/adversarial.ts";
import { buildDiscriminator, type Discriminator, type Verdict } from "../models/discriminators/index.ts";
import { InitializerStream, loadState, type TensorSource } from "../nn/index.ts";
import { buildOptimizer } from "../optim/index.ts";
import { jit, type Tensor, tf, valueAndGradientAt, valueAndGradients } from "../runtime/index.ts";
import { type Checks, check, once, worstOf } from "./check.ts";
import { codecTolerance } from "./codec.ts";
import { gradientTolerance, lossTolerance, roughGradientTolerance } from "./codec_losses.ts";
import { distance, maxDifference, maxRelative, norm2, relativeL2 } from "./compare.ts";
import type { GoldenFolder, Json } from "./folder.ts";
import { tensorOf } from "./tensors.ts";

const logitsTolerance = 1e-5;

/** The MS-STFT discriminator with the weights of `weights`; the folder's is narrower than its config says. */
export function stftDiscriminator(config: Json, weights: TensorSource): Discriminator {
  const [filters] = weights.shape("discriminators.0.convs.0.conv.bias");
  const section = { ...(config.msstftd as Json), filters };
  const discriminator = buildDiscriminator("msstftd", section, new InitializerStream(0));
  loadState(discriminator, weights);
  return discriminator;
}

export async function* verifySTFTDiscriminator(folder: GoldenFolder, config: Json): Checks {
  const read = (name: string) => tensorOf(folder, "msstftd", name);
  const expected = (name: string) => folder.values("msstftd", name);
  const names = folder.namesInOrder("msstftd");
  const discriminator = once(() => stftDiscriminator(config, folder.tensors("msstftd_weights")));
  const verdicts = once(() => discriminator().forward(read("fake")));
  yield* verifyLogits(names, verdicts, expected);
  yield await check("msstftd feature maps", codecTolerance, () =>
    worstOf(
      names.flatMap((name): [string, number][] => {
        const [, kind, part, layer] = /^(fmap|fmap_mean|fmap_absmean)\.(\d+)\.(\d+)$/.exec(name) ?? [];
        if (kind === undefined) return [];
        const map = channelsFirst(verdicts()[Number(part)].featureMaps[Number(layer)]);
        const wanted = expected(name);
        if (kind === "fmap") return [[name, maxDifference(map.dataSync().slice(0, wanted.length), wanted)]];
        const mean = tf.mean(kind === "fmap_mean" ? map : tf.abs(map)).dataSync();
        return [[name, maxDifference(mean, wanted)]];
      }),
    ),
  );
  yield* verifyCriteria(names, verdicts, expected);
  for (const [what, method, tolerance] of [
    ["adv", "adversarial", gradientTolerance],
    ["feat", "featureMatching", roughGradientTolerance],
  ] as const) {
    const result = once(() => {
      const losses = new Adversary(discriminator(), hinge()).modelLosses(read("real"));
      return valueAndGradientAt(losses[method], read("fake"));
    });
    yield await check(`msstftd ${what}`, lossTolerance, () =>
      maxRelative(result().value.dataSync(), expected(what)),
    );
    yield await check(`msstftd grad.${what}`, tolerance, () =>
      relativeL2(result().gradient.dataSync(), expected(`grad.${what}`)),
    );
  }
  yield* verifyTraining(folder, config);
}

/**
 * Two updates of the discriminator, each one jitted call. The model's wave is nearly the real one, so that the gradient is a small
 * difference of two large ones, one from each wave: an error counts relative to these. (The peer, run again on another machine,
 * differs by half of the difference.) An update of Adam takes the sign of what is smaller than that rounding, so such weights only
 * stay within the step size, and the second update starts from the peer's weights.
 */
async function* verifyTraining(folder: GoldenFolder, config: Json): Checks {
  const discriminator = once(() => stftDiscriminator(config, folder.tensors("msstftd_weights")));
  const read = (name: string) => tensorOf(folder, "msstftd", name);
  const optim = folder.meta.disc_optim as Json;
  const trainable = () =>
    discriminator()
      .namedParameters()
      .filter(([, parameter]) => parameter.trainable);
  const part = once(() => {
    const gradients = gradientsOnFake(discriminator(), read("fake"));
    return new Map(trainable().map(([name], i) => [name, gradients[i].dataSync() as Float32Array]));
  });
  const step = once(() => discriminatorStep(discriminator(), optim));
  for (const [loss, weights, updates] of [
    ["d_loss", "msstftd_after_train_adv", 1],
    ["d_loss_2nd", "msstftd_final", 2],
  ] as const) {
    const result = once(() => {
      part(); // with the weights from before the updates
      if (updates === 2) loadState(discriminator(), folder.tensors("msstftd_after_train_adv"));
      return step()(read("fake"), read("real"));
    });
    yield await check(`msstftd ${loss}`, lossTolerance, () =>
      maxRelative(result().loss.dataSync(), folder.values("msstftd", loss)),
    );
    if (updates === 1) {
      yield await check("msstftd gradients", gradientTolerance, () =>
        worstOf(
          trainable().map(([name], i) => {
            const expected = folder.values("msstftd_grads", name);
            const scale = Math.max(norm2(expected), norm2(part().get(name)!));
            return [name, distance(result().gradients[i].dataSync(), expected) / scale];
          }),
        ),
      );
    }
    yield await check(`msstftd weights after update ${updates}`, lossTolerance, () => {
      result();
      const reach = 2 * updates * (optim.lr as number);
      const index = new Map(trainable().map(([name], i) => [name, i]));
      return worstOf(
        discriminator()
          .namedParameters()
          .map(([name, parameter]) => {
            const [got, wanted] = [parameter.read(), folder.values(weights, name)];
            if (!parameter.trainable) return [name, maxDifference(got, wanted)];
            const gradient = smaller(
              folder.values("msstftd_grads", name),
              result().gradients[index.get(name)!],
            );
            const rounding =
              30e-6 *
              part()
                .get(name)!
                .reduce((top, g) => Math.max(top, Math.abs(g)), 0);
            const errors = Float64Array.from(wanted, (w, i) => {
              const error = Math.abs(got[i] - w);
              return gradient[i] < rounding && error <= reach ? 0 : error;
            });
            return [name, errors.reduce((top, error) => Math.max(top, error), 0)];
          }),
      );
    });
  }
}

/** Magnitudes of the smaller of two values each: of the first update's gradient, and of the last one's. */
function smaller(first: ArrayLike<number>, last: Tensor): Float32Array {
  const other = last.dataSync();
  return Float32Array.from(first, (value, i) => Math.min(Math.abs(value), Math.abs(other[i])));
}

/** Of the discriminator's loss on the model's wave alone. */
function gradientsOnFake(discriminator: Discriminator, fake: Tensor): Tensor[] {
  const { criterion } = hinge();
  const { gradients } = valueAndGradients(() => {
    const terms = discriminator.forward(fake).map(({ logits }) => criterion.fake(logits));
    return { loss: tf.div(tf.addN(terms), terms.length) as Tensor, aux: {} };
  }, discriminator.parameters());
  return gradients as Tensor[];
}

function discriminatorStep(discriminator: Discriminator, optim: Json) {
  const adversary = new Adversary(discriminator, hinge());
  const named = discriminator.namedParameters().filter(([, { trainable }]) => trainable);
  const { betas, weight_decay, eps = 1e-8 } = optim.adam as Json;
  const config = {
    betas: betas as [number, number],
    weight_decay: weight_decay as number,
    eps: eps as number,
  };
  const optimizer = buildOptimizer(optim.optimizer as string, named, config);
  const run = jit(
    (fake: Tensor, real: Tensor, hyper: Record<string, Tensor>) => {
      const { loss, gradients } = valueAndGradients(
        () => ({ loss: adversary.discriminatorLoss(fake, real), aux: {} }),
        named.map(([, parameter]) => parameter),
      );
      optimizer.apply(gradients, null, hyper);
      return { loss, gradients: gradients as Tensor[] };
    },
    { name: "discriminator_step" },
  );
  return (fake: Tensor, real: Tensor) => {
    const hyper = Object.entries(optimizer.nextHyper(optim.lr as number)).map(([k, v]) => [k, tf.scalar(v)]);
    return run(fake, real, Object.fromEntries(hyper));
  };
}

/** `crit.NAME.adv|real|fake`: the criteria on the logits of the first part. */
async function* verifyCriteria(
  names: string[],
  verdicts: () => Verdict[],
  expected: (name: string) => ArrayLike<number>,
): Checks {
  for (const name of names) {
    const [, loss, part] = /^crit\.(\w+)\.(adv|real|fake)$/.exec(name) ?? [];
    if (loss === undefined) continue;
    yield await check(`msstftd ${name}`, lossTolerance, () => {
      const { criterion } = new AdversarialLoss({ adv_loss: loss });
      const measure = part === "adv" ? criterion.generator : criterion[part as "real" | "fake"];
      return maxRelative(measure(verdicts()[0].logits).dataSync(), expected(name));
    });
  }
}

/** mpd and msd: sizes are those of their weights, `w.*`; what weights do not show is as in the config's defaults. */
export async function* verifyOtherDiscriminator(folder: GoldenFolder, name: "mpd" | "msd"): Checks {
  const file = folder.tensors(name);
  const verdicts = once(() => {
    const weights: TensorSource = {
      path: file.path,
      names: file.names.flatMap((tensor) => (tensor.startsWith("w.") ? tensor.slice(2) : [])),
      shape: (tensor) => file.shape(`w.${tensor}`),
      readFloat32: (tensor) => file.readFloat32(`w.${tensor}`),
    };
    const section = name === "mpd" ? periodSection(weights, folder) : scaleSection(weights);
    const discriminator = buildDiscriminator(name, section, new InitializerStream(0));
    loadState(discriminator, weights);
    // The peer never lowers the rate for the later parts of msd: they are compared part by part on the same wave.
    return discriminator.discriminators.map((part) => part.forward(tensorOf(folder, name, "x")));
  });
  yield* verifyLogits(folder.namesInOrder(name), verdicts, (tensor) => folder.values(name, tensor), name);
}

async function* verifyLogits(
  names: string[],
  verdicts: () => Verdict[],
  expected: (name: string) => ArrayLike<number>,
  discriminator = "msstftd",
): Checks {
  for (const name of names.filter((tensor) => tensor.startsWith("logits."))) {
    yield await check(`${discriminator} ${name}`, logitsTolerance, () =>
      maxDifference(channelsFirst(verdicts()[Number(name.split(".")[1])].logits).dataSync(), expected(name)),
    );
  }
}

function periodSection(weights: TensorSource, folder: GoldenFolder): Json {
  const layers = kernels(weights, "convs.");
  const [first, second = first] = layers.map(([out]) => out);
  const [[, , lastKernel]] = kernels(weights, "conv_post.");
  const file = folder.tensors("mpd");
  const logits = file.names.filter((name) => name.startsWith("logits.")).sort(byPart);
  return {
    norm: normOf(weights, "discriminators.0.convs.0"),
    periods: logits.map((name) => file.shape(name)[3]),
    n_layers: layers.length,
    kernel_sizes: [layers[0][2], lastKernel],
    filters: (first * first) / second,
    filters_scale: second / first,
    max_filters: Math.max(...layers.map(([out]) => out)),
  };
}

function scaleSection(weights: TensorSource): Json {
  const [[filters, , product], ...layers] = kernels(weights, "convs.");
  const inner = layers.slice(0, -1);
  const [[, , lastKernel]] = kernels(weights, "conv_post.");
  const inputs = [filters, ...inner.map(([out]) => out)];
  const parts = new Set(weights.names.map((name) => Number(name.split(".")[1])));
  return {
    scale_norms: [...parts].sort((a, b) => a - b).map((i) => normOf(weights, `discriminators.${i}.convs.1`)),
    kernel_sizes: [product / lastKernel, lastKernel],
    filters,
    max_filters: Math.max(...layers.map(([out]) => out)),
    downsample_scales: inner.map(([, , kernel]) => (kernel - 1) / 10),
    groups: inner.map(([, width], i) => inputs[i] / width),
  };
}

/** Shapes of the weights of the first part's layers below `prefix`, in order. */
function kernels(weights: TensorSource, prefix: string): (readonly number[])[] {
  const start = `discriminators.0.${prefix}`;
  const layer = (name: string) => Number(name.slice(start.length).split(".")[0]) || 0;
  return weights.names
    .filter((name) => name.startsWith(start) && /\.weight(_v|_orig)?$/.test(name))
    .filter((name) => !name.endsWith("weight_v") || !weights.names.includes(name.replace(/_v$/, "_orig")))
    .sort((a, b) => layer(a) - layer(b))
    .map((name) => weights.shape(name));
}

function normOf(weights: TensorSource, layer: string): string {
  const has = (suffix: string) => weights.names.includes(`${layer}.conv.${suffix}`);
  return has("weight_orig") ? "spectral_norm" : has("weight_g") ? "weight_norm" : "none";
}

function byPart(a: string, b: string): number {
  return Number(a.split(".")[1]) - Number(b.split(".")[1]);
}

/** [B, …, C] -> [B, C, …] */
function channelsFirst(x: Tensor): Tensor {
  return tf.transpose(x, [0, x.rank - 1, ...Array.from({ length: x.rank - 2 }, (_, i) => i + 1)]);
}

function hinge(): AdversarialLoss {
  return new AdversarialLoss({ adv_loss: "hinge", feat_loss: "l1" });
}
