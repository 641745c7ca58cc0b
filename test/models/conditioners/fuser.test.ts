/** Each way of fusing a condition, on numbers small enough to check by hand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConditionTensors } from "../../../src/models/conditioners/base.ts";
import { ConditionFuser, type FuserConfig } from "../../../src/models/conditioners/fuser.ts";
import { maskedScore } from "../../../src/nn/index.ts";
import { jit, type Tensor, tf, Variable, valueAndGradients } from "../../../src/runtime/index.ts";

/** [1, 2, 2] */
const input = tf.tensor3d([
  [
    [1, 2],
    [3, 4],
  ],
]);

test("sum adds a condition of one step to every step, one of as many steps to each", () => {
  assert.deepEqual(fuse({ sum: ["a"] }, { a: [[10, 20]] }).input, [
    [11, 22],
    [13, 24],
  ]);
  assert.deepEqual(
    fuse(
      { sum: ["a"] },
      {
        a: [
          [10, 20],
          [30, 40],
        ],
      },
    ).input,
    [
      [11, 22],
      [33, 44],
    ],
  );
});

test("sum refuses a condition of another length, by name", () => {
  const three = {
    mood: [
      [1, 1],
      [2, 2],
      [3, 3],
    ],
  };
  assert.throws(() => fuse({ sum: ["mood"] }, three), {
    name: "UserError",
    message: /"mood" has 3 steps, the input 2/,
  });
});

test("prepend puts each condition before what is there, and only in the first call of a stream", () => {
  const config = { prepend: ["a", "b"] };
  const conditions = {
    a: [[5, 5]],
    b: [
      [6, 6],
      [7, 7],
    ],
  };
  const fused = fuse(config, conditions);
  assert.deepEqual(fused.input, [
    [6, 6],
    [7, 7],
    [5, 5],
    [1, 2],
    [3, 4],
  ]);
  assert.equal(fused.prefixLength, 3);
  assert.equal(fused.cross, null);
  const later = fuse(config, conditions, { first: false });
  assert.deepEqual(later.input, [
    [1, 2],
    [3, 4],
  ]);
  assert.equal(later.prefixLength, 0);
});

test("cross joins its conditions along time, and with them the biases that hide padding", () => {
  const { input: unchanged, cross } = fuse(
    { cross: ["a", "b"] },
    {
      a: [
        [5, 6],
        [0, 0],
      ],
      b: [[7, 8]],
    },
    {},
    { a: [0, maskedScore] },
  );
  assert.deepEqual(unchanged, [
    [1, 2],
    [3, 4],
  ]);
  assert.deepEqual(cross, {
    source: [
      [5, 6],
      [0, 0],
      [7, 8],
    ],
    bias: [0, maskedScore, 0],
  });
});

test("input_interpolate adds the nearest earlier step of a condition of any length", () => {
  const steps = tf.zeros([1, 5, 2]) as Tensor;
  const condition = tensors([
    [1, 10],
    [2, 20],
    [3, 30],
  ]);
  const fused = new ConditionFuser({ input_interpolate: ["a"] }).fuse(steps, { a: condition });
  assert.deepEqual(fused.input.arraySync(), [
    [
      [1, 10],
      [1, 10],
      [2, 20],
      [2, 20],
      [3, 30],
    ],
  ]);
  assert.deepEqual(
    fuse(
      { input_interpolate: ["a"] },
      {
        a: [
          [1, 1],
          [2, 2],
          [3, 3],
          [4, 4],
        ],
      },
    ).input,
    [
      [2, 3],
      [6, 7],
    ],
  );
});

test("step by step, every method adds to a step what it adds to it in the whole sequence", () => {
  const steps = 4;
  const x = tf.linspace(-1, 1, steps * 2).reshape([1, steps, 2]) as Tensor;
  const prefix = tensors([[9, 9], [8, 8], [7, 7]]); // biome-ignore format: a row each would be long
  const whole = Array.from({ length: steps }, (_, i) => [i, 10 * i]);
  for (const [config, conditions] of [
    [{ sum: ["a"] }, { a: tensors([[1, 2]]) }],
    [{ sum: ["a"] }, { a: tensors(whole) }],
    [{ input_interpolate: ["a"] }, { a: tensors([[1, 2], [3, 4], [5, 6]]) }], // biome-ignore format: as above
    [
      { prepend: ["p"], input_interpolate: ["a"] },
      { p: prefix, a: tensors(whole.slice(1)) },
    ],
    [
      { prepend: ["p"], input_interpolate: ["a"] },
      { a: tensors(whole.slice(1)), p: prefix },
    ],
    [
      { prepend: ["p"], sum: ["a"] },
      { p: prefix, a: tensors([[1, 2]]) },
    ],
  ] as [FuserConfig, Record<string, ConditionTensors>][]) {
    const fuser = new ConditionFuser(config);
    const step = jit(
      (input: Tensor, offset: Tensor) =>
        fuser.fuse(input, conditions, { first: false, window: { offset, total: steps } }).input,
    );
    const first = fuser.fuse(x.slice([0, 0, 0], [1, 2, 2]), conditions, {
      window: { offset: tf.scalar(0, "int32"), total: steps },
    }).input;
    const later = [2, 3].map((offset) =>
      step(x.slice([0, offset, 0], [1, 1, 2]), tf.scalar(offset, "int32")),
    );
    const streamed = tf.concat([first, ...later], 1);
    assert.deepEqual(
      streamed.arraySync(),
      fuser.fuse(x, conditions).input.arraySync(),
      JSON.stringify(config),
    );
    assert.equal(step.traces, 1);
  }
});

test("with maskPadding each row's bias hides what its mask excludes, and positions are those without it", () => {
  const condition = (): ConditionTensors => ({
    embedding: tf.zeros([2, 3, 4]),
    mask: tf.tensor2d([1, 1, 0, 1, 0, 0], [2, 3]),
    crossBias: tf.zeros([1, 1, 1, 3]),
  });
  const fuse = (maskPadding: boolean) =>
    new ConditionFuser({ cross: ["a", "b"], cross_attention_pos_emb: true }, { maskPadding }).fuse(
      tf.zeros([2, 2, 4]),
      { a: condition(), b: condition() },
    ).cross!;
  const { source, bias } = fuse(true);
  assert.deepEqual(bias.shape, [2, 1, 1, 6]);
  const x = maskedScore;
  assert.deepEqual(
    [...bias.dataSync()].map((value) => value || 0),
    [0, 0, x, 0, 0, x, 0, x, x, 0, x, x],
  );
  assert.deepEqual([...source.dataSync()], [...fuse(false).source.dataSync()]);
});

test("ignore leaves the condition out", () => {
  const { input: unchanged, cross, prefixLength } = fuse({ ignore: ["a"] }, { a: [[5, 6]] });
  assert.deepEqual(
    { unchanged, cross, prefixLength },
    {
      unchanged: [
        [1, 2],
        [3, 4],
      ],
      cross: null,
      prefixLength: 0,
    },
  );
});

test("a condition that no method lists is refused, by name", () => {
  assert.throws(() => fuse({ cross: ["a"] }, { chords: [[1, 1]] }), {
    name: "UserError",
    message: /"chords" is in none/,
  });
});

test("cross_attention_pos_emb adds scaled [cos | sin] of the position, counted as if hidden padding were not there", () => {
  const config = { cross: ["a", "b"], cross_attention_pos_emb: true, cross_attention_pos_emb_scale: 0.5 };
  const zero = [0, 0, 0, 0];
  const fuser = new ConditionFuser(config);
  const conditions = { a: tensors([zero, zero, zero], [0, 0, maskedScore]), b: tensors([zero, zero]) };
  const { cross } = jit((c: typeof conditions) => fuser.fuse(tf.zeros([1, 2, 4]), c))(conditions);
  const source = (cross!.source.arraySync() as number[][][])[0];
  for (const [step, position] of [
    [0, 0],
    [1, 1],
    [3, 2],
    [4, 3],
  ]) {
    const far = position / 10000;
    const expected = [Math.cos(position), Math.cos(far), Math.sin(position), Math.sin(far)].map(
      (v) => 0.5 * v,
    );
    for (const [i, value] of expected.entries()) assert.ok(Math.abs(source[step][i] - value) < 1e-6);
  }
});

test("gradients reach a condition through every method, in a jitted function", () => {
  const value = new Variable([1, 2, 2], () =>
    tf.tensor3d([
      [
        [1, 2],
        [3, 4],
      ],
    ]),
  );
  for (const [method, expected] of [
    ["sum", 1],
    ["prepend", 1],
    ["input_interpolate", 1],
    ["cross", 1],
    ["ignore", 0],
  ] as const) {
    const fuser = new ConditionFuser({ [method]: ["a"] });
    const gradient = jit((x: Tensor) => {
      const f = () => {
        const condition = {
          ...tensors([
            [0, 0],
            [0, 0],
          ]),
          embedding: value.value,
        };
        const { input: fused, cross } = fuser.fuse(x, { a: condition });
        return { loss: tf.add(tf.sum(fused), cross ? tf.sum(cross.source) : 0) as Tensor, aux: {} };
      };
      return valueAndGradients(f, [value]).gradients[0] ?? tf.zeros([4]);
    });
    assert.deepEqual([...gradient(input).dataSync()], Array(4).fill(expected), method);
  }
});

/** Fuses conditions of one row with `input`; the result as plain numbers. */
function fuse(
  config: FuserConfig,
  conditions: Record<string, number[][]>,
  options: { first?: boolean } = {},
  bias: Record<string, number[]> = {},
) {
  const entries = Object.entries(conditions).map(([name, steps]) => [name, tensors(steps, bias[name])]);
  const fused = new ConditionFuser(config).fuse(input, Object.fromEntries(entries), options);
  return {
    input: (fused.input.arraySync() as number[][][])[0],
    cross: fused.cross && {
      source: (fused.cross.source.arraySync() as number[][][])[0],
      bias: [...fused.cross.bias.dataSync()],
    },
    prefixLength: fused.prefixLength,
  };
}

function tensors(steps: number[][], bias = steps.map(() => 0)): ConditionTensors {
  return {
    embedding: tf.tensor3d([steps]),
    mask: tf.ones([1, steps.length]),
    crossBias: tf.tensor4d(bias, [1, 1, 1, bias.length]),
  };
}
