/** The balancer, against AudioCraft's and by its definition. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Balancer } from "../../src/losses/balancer.ts";
import { loadState } from "../../src/nn/index.ts";
import { seededGradients, type Tensor, tf, Variable, valueAndGradientAt } from "../../src/runtime/index.ts";
import { close } from "../close.ts";
import { goldenFile, goldenTensor } from "./codec_golden.ts";

const options = { balance_grads: true, total_norm: 1, ema_decay: 0.9, per_batch_item: true };
const weights = { a: 1, b: 3 };
const file = goldenFile("balancer_toy");

function losses(z: Tensor) {
  const a = valueAndGradientAt((x) => tf.mul(tf.mean(tf.square(x)), 5), z);
  const b = valueAndGradientAt((x) => tf.sum(tf.abs(x)), z);
  return { a: { loss: a.value, gradient: a.gradient }, b: { loss: b.value, gradient: b.gradient } };
}

test("four steps of two losses: gradients and effective losses are AudioCraft's", () => {
  const balancer = new Balancer(weights, options);
  for (let step = 0; step < 4; step++) {
    const { gradient, loss } = balancer.balance(losses(goldenTensor(file, `z${step}`)));
    close(gradient.dataSync(), file.readFloat32(`grad${step}`), 1e-6);
    close(loss.dataSync(), file.readFloat32(`eff${step}`), 1e-6);
  }
});

test("its averages are state: one that loads them goes on like the one that saved them", () => {
  const first = new Balancer(weights, options);
  for (let step = 0; step < 3; step++) first.balance(losses(goldenTensor(file, `z${step}`)));
  const saved = new Map(
    first.namedParameters().map(([name, p]) => [name, { values: p.read(), shape: p.shape }]),
  );
  const second = new Balancer(weights, options);
  loadState(second, {
    path: "balancer",
    names: [...saved.keys()],
    shape: (name) => saved.get(name)!.shape,
    readFloat32: (name) => Float32Array.from(saved.get(name)!.values),
  });
  const { gradient } = second.balance(losses(goldenTensor(file, "z3")));
  close(gradient.dataSync(), file.readFloat32("grad3"), 1e-6);
});

test("a seeded gradient pulls what was decided on from the outputs back to the variables", () => {
  const w = new Variable([2], () => Float32Array.of(2, 3));
  const { aux, gradients } = seededGradients(
    () => [tf.square(w.value), tf.sum(w.value)],
    ([squares]) => ({
      // the outputs are known here: the seed is 10 times the first one, and 1 for the sum
      gradients: [tf.mul(squares, 10), tf.scalar(1)],
      aux: { squares: tf.clone(squares) },
    }),
    [w],
  );
  close(aux.squares.dataSync(), [4, 9], 0);
  close(gradients[0]!.dataSync(), [4 * 40 + 1, 6 * 90 + 1], 0);
});

test("weights of which none is greater than 0 are refused", () => {
  const balancer = new Balancer({ a: 0, b: 0 }, options);
  assert.throws(() => balancer.balance(losses(tf.ones([1, 1, 4]))), /at least one weight/);
});
