/** What `whileLoop` promises: one result in all modes, state of any structure, what it closes over, variables in place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  jit,
  runOp,
  runUpdate,
  type Tensor,
  TraceError,
  tf,
  Variable,
  whileLoop,
  zerosVariable,
} from "../../src/runtime/index.ts";
import type { JitMode } from "../../src/runtime/options.ts";
import { close } from "../close.ts";

const modes: JitMode[] = ["none", "graph", "xla"];
const int = (value: number) => tf.scalar(value, "int32") as Tensor;
const values = (tensor: Tensor) => [...tensor.dataSync()];

for (const mode of modes) {
  test(`a loop's length is a tensor's value: one trace for 0, 1 and 7 steps (${mode})`, () => {
    const power = jit(
      (x: Tensor, n: Tensor) =>
        whileLoop(
          { i: int(0), product: tf.onesLike(x) as Tensor },
          ({ i }) => tf.less(i, n),
          ({ i, product }) => ({ i: tf.add(i, int(1)) as Tensor, product: tf.mul(product, x) as Tensor }),
        ).product,
      { mode },
    );
    const x = tf.tensor1d([2, -1, 0.5]);
    for (const n of [0, 1, 7]) close(power(x, int(n)).dataSync(), [2 ** n, (-1) ** n, 0.5 ** n], 1e-6);
    assert.equal(power.traces, mode === "none" ? 0 : 1);
  });

  test(`what a loop closes over: constants, arguments, recorded and real tensors, variables (${mode})`, () => {
    const outside = tf.tensor1d([1, 2]);
    const weight = new Variable([2], () => tf.tensor1d([10, 20]));
    const f = jit(
      (x: Tensor) => {
        const recorded = tf.mul(x, 100) as Tensor;
        const constant = tf.tensor1d([1000, 2000]);
        return whileLoop(
          [int(0), tf.zeros([2]) as Tensor],
          ([i]) => tf.less(i, int(2)),
          ([i, sum]) => [
            tf.add(i, int(1)) as Tensor,
            tf.addN([sum, outside, weight.value, recorded, constant, x] as never) as Tensor,
          ],
        )[1];
      },
      { mode },
    );
    const expected = (x: number[]) => x.map((x, i) => 2 * (i + 1) * 1011 + 2 * 101 * x);
    close(f(tf.tensor1d([1, 1])).dataSync(), expected([1, 1]), 1e-6);
    close(f(tf.tensor1d([3, 4])).dataSync(), expected([3, 4]), 1e-6);
    weight.assign(tf.tensor1d([0, 0]));
    close(f(tf.tensor1d([0, 0])).dataSync(), [2 * 1001, 2 * 2002], 1e-6);
  });

  test(`a loop updates the variables it lists in place, and reads see the updates (${mode})`, () => {
    const counter = zerosVariable([2]);
    const before = new Variable([2], () => tf.tensor1d([1, 2]));
    const f = jit(
      () => {
        counter.assign(before.value);
        const [, seen] = whileLoop(
          [int(0), tf.zeros([2]) as Tensor],
          ([i]) => tf.less(i, int(3)),
          ([i]) => {
            runUpdate("AssignAddVariableOp", [counter, before.value], { dtype: { type: 4, value: 1 } });
            return [tf.add(i, int(1)) as Tensor, counter.value];
          },
          { updates: [counter] },
        );
        return { seen, after: counter.value };
      },
      { mode },
    );
    const { seen, after } = f();
    assert.deepEqual(
      [values(seen), values(after)],
      [
        [4, 8],
        [4, 8],
      ],
    );
    assert.deepEqual([...counter.read()], [4, 8]);
  });

  test(`loops inside loops (${mode})`, () => {
    const f = jit(
      (n: Tensor) =>
        whileLoop(
          [int(0), int(0)],
          ([i]) => tf.less(i, n),
          ([i, count]) => {
            const [, inner] = whileLoop(
              [int(0), count],
              ([j]) => tf.lessEqual(j, i),
              ([j, c]) => [tf.add(j, int(1)) as Tensor, tf.add(c, n) as Tensor],
            );
            return [tf.add(i, int(1)) as Tensor, inner];
          },
        )[1],
      { mode },
    );
    assert.deepEqual(values(f(int(4))), [40]);
  });

  test(`state may change places, stay or stand twice (${mode})`, () => {
    const f = jit(
      (a: Tensor, b: Tensor) =>
        whileLoop(
          { i: int(0), pair: [a, b], same: a, twice: [a, a] },
          ({ i }) => tf.less(i, int(3)),
          ({ i, pair: [a, b], same }) => ({
            i: tf.add(i, int(1)) as Tensor,
            pair: [b, a],
            same,
            twice: [b, b],
          }),
        ),
      { mode },
    );
    const { pair, same, twice } = f(tf.scalar(1), tf.scalar(2));
    assert.deepEqual(
      [...pair, same, ...twice].map((x) => values(x)[0]),
      [2, 1, 1, 2, 2],
    );
  });
}

test("a loop leaves no tensors behind", () => {
  for (const mode of modes) {
    const f = jit(
      (n: Tensor) =>
        whileLoop(
          [int(0), tf.zeros([3]) as Tensor],
          ([i]) => tf.less(i, n),
          ([i, sum]) => [tf.add(i, int(1)) as Tensor, tf.add(sum, tf.ones([3])) as Tensor],
        ),
      { mode },
    );
    const run = () => tf.tidy(() => void f(int(5)));
    run();
    const before = tf.memory().numTensors;
    run();
    assert.equal(tf.memory().numTensors, before, mode);
    f.dispose();
  }
});

test("a body that changes a shape, or updates a variable that is not listed, fails and says so", () => {
  const grow = jit(
    (x: Tensor) =>
      whileLoop(
        [x],
        () => tf.scalar(true, "bool") as Tensor,
        ([x]) => [tf.concat([x, x], 0)],
      ),
    {
      mode: "graph",
    },
  );
  assert.throws(
    () => grow(tf.ones([2])),
    (error: Error) => error instanceof TraceError && /float32\[4\].*float32\[2\]/.test(error.message),
  );
  const counter = zerosVariable([]);
  const update = jit(
    (x: Tensor) =>
      whileLoop(
        [x],
        ([x]) => tf.less(x, 1),
        ([x]) => {
          counter.assign(x);
          return [x];
        },
      ),
    { mode: "graph" },
  );
  assert.throws(() => update(tf.scalar(0)), /does not list/);
});

test("an op that is wrong inside a loop fails with its name and shapes", () => {
  const f = jit(
    (x: Tensor) =>
      whileLoop(
        [x],
        ([x]) => tf.less(tf.sum(x), 1),
        ([x]) => [runOp("MatrixInverse", [x], { T: { type: 4, value: 1 } })[0]],
      ),
    { mode: "graph" },
  );
  assert.throws(() => f(tf.ones([2])), /MatrixInverse\(\[2\]\)/);
});
