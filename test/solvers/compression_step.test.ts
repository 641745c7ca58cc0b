/** One update of a codec and its discriminators. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { trainingForward } from "../../src/models/encodec/training.ts";
import type { Module } from "../../src/nn/index.ts";
import { configureRuntime, scoped } from "../../src/runtime/index.ts";
import type { CompressionUpdate } from "../../src/solvers/compression_step.ts";
import { close } from "../close.ts";
import { tinyCodecStep, tones } from "./tiny_codec.ts";

const update: CompressionUpdate = {
  lr: 1e-3,
  codebooks: null,
  key: [1, 0],
  withAdversaries: true,
  averages: false,
};

test("the discriminator learns first, from the reconstruction before the update, and the codec's losses are by what it has learned", () => {
  const { model, adversaries, step } = tinyCodecStep("optim.lr=1e-2");
  const [{ adversary, name }] = adversaries;
  scoped(() => {
    const wav = tones();
    const { reconstruction } = trainingForward(model, wav, {});
    const before = adversary.discriminatorLoss(reconstruction, wav).dataSync();
    const metrics = step.train(wav, { ...update, lr: 1e-2 });
    close([metrics[`d_${name}`]], before, 1e-5);
    const after = adversary.modelLosses(wav).adversarial(reconstruction).dataSync();
    close([metrics[`adv_${name}`]], after, 1e-5);
    assert.notEqual(adversary.discriminatorLoss(reconstruction, wav).dataSync()[0], before[0]);
  });
});

test("without adversaries in an update their weights stay, and those of the codec move", () => {
  const { model, adversaries, step } = tinyCodecStep();
  const before = [valuesOf(adversaries[0].adversary.discriminator), valuesOf(model)];
  scoped(() => step.train(tones(), { ...update, withAdversaries: false }));
  assert.deepEqual(valuesOf(adversaries[0].adversary.discriminator), before[0]);
  assert.notDeepEqual(valuesOf(model), before[1]);
});

test("a loss of weight 0 is measured and has no part in the gradient", () => {
  const { step } = tinyCodecStep(
    "losses.l1=0",
    "losses.adv=0",
    "losses.feat=0",
    "adversarial.adversaries=[]",
  );
  const metrics = scoped(() => step.train(tones(), update));
  assert.ok(metrics.l1 > 0);
  const ratios = Object.keys(metrics).filter((name) => name.startsWith("ratio_"));
  assert.deepEqual(ratios, ["ratio_msspec", "ratio_sisnr"]);
});

test("with a number of codebooks, only these are used: the others' vectors stay, and the bandwidth is theirs", () => {
  const { model, step } = tinyCodecStep();
  const [, second] = model.quantizer.codebooks;
  const before = second.embed.read();
  const metrics = scoped(() => step.train(tones(), { ...update, codebooks: 1 }));
  assert.deepEqual(second.embed.read(), before);
  assert.equal(metrics.bandwidth, model.bandwidthOf(1));
});

test("op by op, an update gives the metrics and the weights of the jitted one", () => {
  const jitted = tinyCodecStep();
  const expected = scoped(() => jitted.step.train(tones(), update));
  configureRuntime({ jit: "none" });
  try {
    const eager = tinyCodecStep();
    const metrics = scoped(() => eager.step.train(tones(), update));
    close(Object.values(metrics), Object.values(expected), 1e-3);
    assert.deepEqual(Object.keys(metrics), Object.keys(expected));
  } finally {
    configureRuntime({ jit: "auto" });
  }
});

test("updates on the same waves bring the reconstruction nearer, with the penalty's gradient measured apart", () => {
  const { step } = tinyCodecStep("losses.adv=0", "losses.feat=0", "adversarial.adversaries=[]");
  const run = () => scoped(() => step.train(tones(), { ...update, lr: 3e-3 }));
  const first = run();
  assert.ok(scoped(() => step.penaltyGradient(tones(), null)) > 0);
  for (let i = 0; i < 60; i++) run();
  const last = run();
  assert.ok(last.sisnr < first.sisnr - 3, `${first.sisnr} -> ${last.sisnr}`);
  assert.ok(last.l1 < first.l1, `${first.l1} -> ${last.l1}`);
});

function valuesOf(module: Module): unknown[] {
  return module.namedParameters().map(([, parameter]) => parameter.read());
}
