/** Criteria of the adversarial game, by hand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AdversarialLoss } from "../../src/losses/adversarial.ts";
import { type Tensor, tf } from "../../src/runtime/index.ts";
import { close } from "../close.ts";

const verdict = (logits: number[], ...maps: number[][]) => ({
  logits: tf.tensor1d(logits) as Tensor,
  featureMaps: maps.map((map) => tf.tensor1d(map) as Tensor),
});

test("hinge: the model wants high logits; the discriminator wants them beyond 1 and -1", () => {
  const loss = new AdversarialLoss({ adv_loss: "hinge" });
  close(loss.generator([verdict([1, 2, 3])]).dataSync(), [-2], 0);
  close(loss.discriminator([verdict([0, 0])], [verdict([0, 0])]).dataSync(), [2], 0);
  close(loss.discriminator([verdict([1, 1])], [verdict([3, 0])]).dataSync(), [2 + 0.5], 1e-7);
});

test("hinge2: the model's loss stops where the discriminator's would", () => {
  const loss = new AdversarialLoss({ adv_loss: "hinge2" });
  close(loss.generator([verdict([0, 5])]).dataSync(), [0.5], 0);
});

test("mse: squared distance of logits from 1, from 0 for the model's", () => {
  const loss = new AdversarialLoss({ adv_loss: "mse" });
  close(loss.generator([verdict([2, 5, 5])]).dataSync(), [11], 1e-6);
  close(loss.discriminator([verdict([2, 0])], [verdict([3, 1])]).dataSync(), [2 + 2], 1e-6);
});

test("feature matching is a mean over layers and parts, without `normalize` a sum", () => {
  const [fake, real] = [
    [verdict([0], [1, 3], [4]), verdict([0], [0])],
    [verdict([0], [0, 0], [0]), verdict([0], [5])],
  ];
  const mean = new AdversarialLoss({ adv_loss: "hinge", feat_loss: "l1" });
  close(mean.featureMatching(fake, real).dataSync(), [((2 + 4) / 2 + 5) / 2], 1e-6);
  const sum = new AdversarialLoss({ adv_loss: "hinge", feat_loss: "l1", normalize: false });
  close(sum.featureMatching(fake, real).dataSync(), [2 + 4 + 5], 1e-6);
  const none = new AdversarialLoss({ adv_loss: "hinge" });
  close(none.featureMatching(fake, real).dataSync(), [0], 0);
});

test("losses that are not known are refused", () => {
  assert.throws(() => new AdversarialLoss({ adv_loss: "wgan" }), /adversarial\.adv_loss=wgan/);
  assert.throws(
    () => new AdversarialLoss({ adv_loss: "hinge", feat_loss: "cos" }),
    /adversarial\.feat_loss=cos/,
  );
});
