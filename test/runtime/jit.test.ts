/** What `jit` promises: three modes, one result; variables in place; traces per shape; errors that point at the line. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  autocast,
  jit,
  runOp,
  runUpdate,
  type Tensor,
  TraceError,
  tf,
  Variable,
  valueAndGradients,
  zerosVariable,
} from "../../src/runtime/index.ts";
import type { JitMode } from "../../src/runtime/options.ts";
import { close } from "../close.ts";

const modes: JitMode[] = ["none", "graph", "xla"];

/** A small network's training step: matmuls, softmax, a gather-free loss, gradients, two parameters updated in place. */
function makeStep(mode: JitMode) {
  const w1 = new Variable([3, 8], () => tf.linspace(-1, 1, 24).reshape([3, 8]));
  const w2 = new Variable([8, 4], () => tf.linspace(1, -0.5, 32).reshape([8, 4]));
  const step = jit(
    (x: Tensor, y: Tensor) => {
      const { loss, gradients } = valueAndGradients(() => {
        const hidden = tf.tanh(tf.matMul(x as never, w1.value as never));
        const logits = tf.matMul(hidden, w2.value as never);
        return { loss: tf.neg(tf.mean(tf.sum(tf.mul(y, tf.logSoftmax(logits)), -1))), aux: {} };
      }, [w1, w2]);
      for (const [i, w] of [w1, w2].entries()) w.assign(tf.sub(w.value, tf.mul(0.1, gradients[i]!)));
      return { loss, after: tf.sum(w1.value) };
    },
    { name: "step", mode },
  );
  return { step, w1, w2 };
}

test("eager, graph executor and XLA agree to 1e-5 on a training step, its gradients and its in-place updates", () => {
  const x = tf.linspace(-2, 2, 15).reshape([5, 3]);
  const y = tf.oneHot(tf.tensor1d([0, 1, 2, 3, 0], "int32"), 4).toFloat();
  const results = modes.map((mode) => {
    const { step, w1, w2 } = makeStep(mode);
    const losses = [1, 2, 3].map(() => step(x, y).loss.dataSync()[0]);
    const { after } = step(x, y);
    close(after.dataSync(), [[...w1.read()].reduce((a, b) => a + b, 0)], 1e-5); // the read after the update sees it
    return [...losses, ...w1.read(), ...w2.read()];
  });
  assert.ok(results[0][2] < results[0][0], "the loss falls");
  close(results[1], results[0], 1e-5);
  close(results[2], results[0], 1e-5);
});

test("a function is traced once per combination of shapes, dtypes and static values", () => {
  const f = jit((x: Tensor, options: { scale: number }) => tf.mul(x, options.scale), { mode: "graph" });
  f(tf.ones([2]), { scale: 1 });
  f(tf.zeros([2]), { scale: 1 });
  assert.equal(f.traces, 1);
  f(tf.ones([3]), { scale: 1 });
  close(f(tf.ones([3]), { scale: 2 }).dataSync(), [2, 2, 2], 0);
  f(tf.ones([3], "int32"), { scale: 2 });
  assert.equal(f.traces, 4);
});

test("tensors that a function closes over, and constants that it makes, have the same value at every call", () => {
  const outside = tf.tensor1d([1, 2, 3]);
  const f = jit((x: Tensor) => tf.add(tf.mul(x, outside), tf.tensor1d([10, 20, 30])), { mode: "graph" });
  for (let i = 0; i < 2; i++) close(f(tf.tensor1d([1, 1, i])).dataSync(), [11, 22, 30 + 3 * i], 0);
});

test("asking for a tensor's value in a traced function fails and names the line that asked", () => {
  const f = jit((x: Tensor) => tf.add(x, tf.square(x).dataSync()[0]), { name: "peek", mode: "graph" });
  assert.throws(
    () => f(tf.ones([2])),
    (error: Error) =>
      error instanceof TraceError &&
      /jit\(peek\).*value of a tensor \(Square \[2\]\)/.test(error.message) &&
      /jit\.test\.ts:\d+/.test(error.message),
  );
});

test("a dynamic shape in a traced function fails and names the op and the line", () => {
  const f = jit((x: Tensor) => runOp("Where", [x])[0], {
    mode: "graph",
  });
  assert.throws(
    () => f(tf.tensor1d([true, false], "bool")),
    (error: Error) =>
      error instanceof TraceError && /Where/.test(error.message) && /jit\.test\.ts:\d+/.test(error.message),
  );
});

test("an op that TensorFlow refuses fails with the op, the shapes and TensorFlow's reason", () => {
  const w = new Variable([3], () => tf.ones([3]));
  const f = jit(
    (x: Tensor) => {
      runUpdate("AssignAddVariableOp", [w, x], { dtype: { type: 4, value: 3 } });
      return x;
    },
    { name: "bad", mode: "graph" },
  );
  assert.throws(() => f(tf.ones([3])), /jit\(bad\): AssignAddVariableOp/);
});

test("an update in a traced function without any output still runs", () => {
  for (const mode of modes) {
    const counter = zerosVariable([2]);
    const bump = jit(() => counter.assign(tf.add(counter.value, 1)), { mode });
    bump();
    bump();
    close(counter.read(), [2, 2], 0);
  }
});

test("autocast(bfloat16) computes products in 16 bits, in the eager and in the graph mode alike", () => {
  const a = tf.randomUniform([16, 32], -1, 1, "float32", 1);
  const b = tf.randomUniform([32, 8], -1, 1, "float32", 2);
  const exact = tf.matMul(a as never, b as never).dataSync();
  const [eager, graph] = (["none", "graph"] as const).map((mode) => {
    const f = jit((x: Tensor, y: Tensor) => tf.matMul(x as never, y as never) as Tensor, { mode });
    return autocast("bfloat16", () => f(a, b).dataSync());
  });
  assert.notDeepEqual([...graph], [...exact]);
  close(graph, exact, 3e-2);
  close(graph, eager, 1e-2);
});

test("2,000 steps of a tiny model leave the number of tensors flat and memory within 40 MB", () => {
  const { step } = makeStep("graph");
  const x = tf.ones([5, 3]);
  const y = tf.ones([5, 4]);
  const run = () => tf.tidy(() => step(x, y).loss.dataSync()[0]);
  for (let i = 0; i < 200; i++) run();
  const tensors = tf.memory().numTensors;
  const rss = process.memoryUsage().rss;
  for (let i = 0; i < 2000; i++) run();
  assert.equal(tf.memory().numTensors, tensors);
  assert.ok(
    process.memoryUsage().rss - rss < 40e6,
    `RSS grew by ${(process.memoryUsage().rss - rss) / 1e6} MB`,
  );
});

test("a jitted function prints its ops, shapes and cost, and exports its graph", () => {
  const f = jit((x: Tensor, y: Tensor) => tf.relu(tf.matMul(x as never, y as never)), {
    name: "layer",
    mode: "graph",
  });
  f(tf.ones([4, 5]), tf.ones([5, 6]));
  const text = f.describe();
  assert.match(text, /layer \(graph\): \(float32\[4,5\] float32\[5,6\]\) -> \[4,6\]/);
  assert.match(text, /BatchMatMulV2 +1 +240 FLOP|MatMul +1 +240 FLOP .*up to \[4,6\]/);
  assert.ok(f.graphDef(tf.ones([4, 5]), tf.ones([5, 6])).includes("Relu"));
});
