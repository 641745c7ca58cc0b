/** Discriminators, against AudioCraft's: names, logits, losses, gradients and two updates. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AdversarialLoss } from "../../../src/losses/adversarial.ts";
import { groupedConv1d } from "../../../src/models/discriminators/conv.ts";
import { buildDiscriminator } from "../../../src/models/discriminators/index.ts";
import { conv1d } from "../../../src/models/encodec/conv.ts";
import { InitializerStream, loadState } from "../../../src/nn/index.ts";
import { buildOptimizer } from "../../../src/optim/index.ts";
import { jit, type Tensor, tf, valueAndGradientAt, valueAndGradients } from "../../../src/runtime/index.ts";
import { maxDifference, relativeL2 } from "../../../src/verify/compare.ts";
import { close } from "../../close.ts";
import { goldenFile, goldenTensor, part, settings } from "../../losses/codec_golden.ts";

const file = goldenFile("discriminators");
const [fake, real] = [goldenTensor(file, "fake"), goldenTensor(file, "real")];
const kinds = {
  msstftd: { adv_loss: "hinge", feat_loss: "l1" },
  mpd: { adv_loss: "mse", feat_loss: "l2" },
  msd: { adv_loss: "hinge2", feat_loss: "l1" },
};

for (const [name, kind] of Object.entries(kinds)) {
  const make = () => {
    const discriminator = buildDiscriminator(name, settings.discriminators[name], new InitializerStream(0));
    loadState(discriminator, part(file, `${name}.w.`)); // which also compares all names and shapes
    return discriminator;
  };
  const losses = new AdversarialLoss(kind);

  test(`${name}: logits of stereo waves, and both of the model's losses with their gradients`, () => {
    const discriminator = make();
    for (const [i, { logits }] of discriminator.forward(fake).entries()) {
      const axes = Array.from({ length: logits.rank - 2 }, (_, axis) => axis + 1);
      const channelsFirst = tf.transpose(logits, [0, logits.rank - 1, ...axes]);
      assert.ok(maxDifference(channelsFirst.dataSync(), file.readFloat32(`${name}.logits.${i}`)) < 1e-5);
    }
    const onReal = discriminator.forward(real);
    for (const [what, loss] of [
      ["adv", (x: Tensor) => losses.generator(discriminator.forward(x))],
      ["feat", (x: Tensor) => losses.featureMatching(discriminator.forward(x), onReal)],
    ] as const) {
      const { value, gradient } = valueAndGradientAt(loss, fake);
      close(value.dataSync(), file.readFloat32(`${name}.${what}`), 1e-6);
      const error = relativeL2(gradient.dataSync(), file.readFloat32(`${name}.grad.${what}`));
      assert.ok(error < 1e-4, `gradient of ${what} is off by ${error}`);
    }
  });

  test(`${name}: two jitted updates have AudioCraft's losses and end with its weights`, () => {
    const discriminator = make();
    const named = discriminator.namedParameters().filter(([, parameter]) => parameter.trainable);
    const optimizer = buildOptimizer("adam", named, { betas: [0.5, 0.9], weight_decay: 0, eps: 1e-8 });
    const step = jit((hyper: Record<string, Tensor>) => {
      const { loss, gradients } = valueAndGradients(
        () => ({
          loss: losses.discriminator(discriminator.forward(fake), discriminator.forward(real)),
          aux: {},
        }),
        named.map(([, parameter]) => parameter),
      );
      optimizer.apply(gradients, null, hyper);
      return { loss, gradients: gradients as Tensor[] };
    });
    for (const update of [1, 2]) {
      const hyper = Object.entries(optimizer.nextHyper(1e-3)).map(([key, value]) => [key, tf.scalar(value)]);
      const { loss, gradients } = step(Object.fromEntries(hyper));
      close(loss.dataSync(), file.readFloat32(`${name}.d_loss.${update}`), 1e-5);
      if (update === 2) continue;
      // (layers whose gradient is a difference of equal terms have only its rounding: 1e-7 of the others')
      for (const [i, [key]] of named.entries()) {
        const wanted = file.readFloat32(`${name}.d_grad.${key}`);
        assert.ok(maxDifference(gradients[i].dataSync(), wanted) < 1e-6, key);
      }
    }
    for (const [key, parameter] of discriminator.namedParameters()) {
      const [got, wanted] = [parameter.read(), file.readFloat32(`${name}.after.${key}`)];
      // (Adam divides by the gradient's size: of one that is mostly rounding, the direction is open)
      const gradient = parameter.trainable ? file.readFloat32(`${name}.d_grad.${key}`) : null;
      for (const [i, value] of wanted.entries()) {
        const isRounding = gradient !== null && Math.abs(gradient[i]) < 1e-6;
        assert.ok(Math.abs(got[i] - value) < (isRounding ? 4e-3 : 1e-5), `${key}[${i}]`);
      }
    }
  });
}

test("mpd accepts the keys of AudioCraft's config, kernel_size and filter_scales, which its class refuses", () => {
  const section = { periods: [2], kernel_size: 7, filters: 2, filter_scales: 3, n_layers: 2 };
  const shapes = buildDiscriminator("mpd", section, new InitializerStream(0)).namedParameters();
  const shape = (name: string) => shapes.find(([key]) => key === name)?.[1].shape;
  assert.deepEqual(shape("discriminators.0.convs.0.conv.weight_v"), [6, 1, 7, 1]);
  assert.deepEqual(shape("discriminators.0.convs.1.conv.weight_v"), [18, 6, 7, 1]);
  assert.deepEqual(shape("discriminators.0.conv_post.conv.weight_v"), [1, 18, 3, 1]);
});

test("every part of msd hears the wave at half the rate of the one before", () => {
  const section = {
    scale_norms: ["none", "none", "none"],
    filters: 4,
    max_filters: 8,
    downsample_scales: [2],
  };
  const discriminator = buildDiscriminator("msd", section, new InitializerStream(0));
  const wav = tf.ones([1, 1, 400]) as Tensor;
  const lengths = discriminator.forward(wav).map(({ featureMaps }) => featureMaps[0].shape[1]);
  assert.deepEqual(lengths, [400, 201, 101]);
});

test("a grouped convolution is one convolution per group", () => {
  const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, "float32", seed) as Tensor;
  const [x, weight] = [random([2, 23, 6], 1), random([9, 2, 4], 2)];
  const groups = [0, 1, 2].map((g) =>
    conv1d(tf.slice(x, [0, 0, 2 * g], [2, 23, 2]), tf.slice(weight, [3 * g, 0, 0], [3, 2, 4]), 3),
  );
  close(groupedConv1d(x, weight, 3, 3).dataSync(), tf.concat(groups, 2).dataSync(), 1e-5);
});

test("spectral norm: power iterations bring every weight's largest singular value to 1", () => {
  const section = { scale_norms: ["spectral_norm"], filters: 4, max_filters: 8, downsample_scales: [2] };
  const discriminator = buildDiscriminator("msd", section, new InitializerStream(3));
  const wav = tf.randomNormal([1, 1, 100], 0, 1, "float32", 5) as Tensor;
  for (let i = 0; i < 60; i++) tf.tidy(() => discriminator.iterateSpectralNorms());
  const settled = discriminator.forward(wav)[0].logits.dataSync().slice();
  discriminator.iterateSpectralNorms();
  close(discriminator.forward(wav)[0].logits.dataSync(), settled, 1e-4);
});

test("unknown discriminators, keys and norms are refused by name", () => {
  const build = (name: string, section: Record<string, unknown>) =>
    buildDiscriminator(name, section, new InitializerStream(0));
  assert.throws(() => build("wavegan", {}), /wavegan is unknown/);
  assert.throws(() => build("msstftd", { filter: 3 }), /msstftd\.filter is not a key/);
  assert.throws(() => build("msstftd", { norm: "layer_norm" }), /msstftd\.norm=layer_norm is not built/);
  assert.throws(() => build("msd", { groups: [1] }), /msd\.groups must have 4 values/);
});
