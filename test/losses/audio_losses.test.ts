/** Losses of waves, against AudioCraft's values and gradients. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { buildLoss } from "../../src/losses/build.ts";
import { l1 } from "../../src/losses/distance.ts";
import { SISNR } from "../../src/losses/sisnr.ts";
import { type Tensor, tf, valueAndGradientAt } from "../../src/runtime/index.ts";
import { relativeL2 } from "../../src/verify/compare.ts";
import { close } from "../close.ts";
import { goldenFile, goldenTensor, settings } from "./codec_golden.ts";

const file = goldenFile("losses");
const [predicted, target] = [goldenTensor(file, "y_pred"), goldenTensor(file, "y")];

for (const [name, section] of Object.entries(settings.losses)) {
  test(`${name}: value and gradient of stereo waves equal AudioCraft's`, () => {
    const loss = buildLoss(name, section);
    const { value, gradient } = valueAndGradientAt((x) => loss(x, target), predicted);
    const wanted = file.readFloat32(`${name}.loss`)[0];
    assert.ok(Math.abs(value.dataSync()[0] - wanted) <= 1e-5 * Math.abs(wanted));
    const error = relativeL2(gradient.dataSync(), file.readFloat32(`${name}.grad`));
    assert.ok(error <= 1e-4, `gradient off by ${error}`);
  });
}

test("l1 and l2 are means over all values; where nothing differs, the gradient of l1 is 0", () => {
  const [a, b] = [tf.tensor3d([[[1, 2, 5]]]), tf.tensor3d([[[1, 0, 8]]])];
  close(buildLoss("l1", {})(a, b).dataSync(), [5 / 3], 1e-7);
  close(buildLoss("l2", {})(a, b).dataSync(), [13 / 3], 1e-7);
  close(valueAndGradientAt((x) => l1(x, b), a).gradient.dataSync(), [0, 1 / 3, -1 / 3], 1e-7);
});

test("equal waves have no mel, multi-scale mel and STFT loss, with finite gradients", () => {
  for (const name of ["mel", "msspec", "mrstft"]) {
    const loss = buildLoss(name, settings.losses[name]);
    const { value, gradient } = valueAndGradientAt((x) => loss(x, target), tf.clone(target));
    close(value.dataSync(), [0], 1e-12);
    assert.ok(
      gradient.dataSync().every((g) => g === 0),
      name,
    );
  }
});

test("SI-SNR of the whole (segment null) is 10 log10 of the powers, whatever the volume", () => {
  const measure = new SISNR({ sampleRate: 100, segment: null, overlap: 0.5, epsilon: 2 ** -23 });
  const wave = tf.tensor3d([[Array.from({ length: 100 }, (_, t) => Math.sin((2 * Math.PI * t) / 20))]]);
  const noise = tf.tensor3d([
    [Array.from({ length: 100 }, (_, t) => 0.1 * Math.cos((2 * Math.PI * t) / 20))],
  ]);
  const noisy = tf.mul(tf.add(wave, noise), 3) as Tensor;
  close(measure.forward(noisy, wave).dataSync(), [-20], 1e-3);
});

test("a loss, a key and a value that are not known are refused by name", () => {
  assert.throws(() => buildLoss("visqol", {}), /losses\.visqol is unknown/);
  assert.throws(() => buildLoss("mel", { sample_rate: 16000, n_bands: 3 }), /mel\.n_bands/);
  assert.throws(() => buildLoss("mel", {}), /mel\.sample_rate/);
  assert.throws(() => buildLoss("sisnr", { segment: "5" }), /sisnr\.segment/);
});
