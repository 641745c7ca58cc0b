/** Matrix products and linear layers: values against double precision, gradients against TensorFlow's ops, and bfloat16. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { linear, matMul } from "../../src/nn/index.ts";
import {
  attr,
  autocast,
  configureRuntime,
  hasKernels,
  jit,
  runKernel,
  type Tensor,
  tf,
} from "../../src/runtime/index.ts";
import { close } from "../close.ts";

/** Normal enough, and the same in every run. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed * 2654435761 + 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
const size = (shape: number[]) => shape.reduce((a, b) => a * b, 1);
const random = (shape: number[], seed: number) => tf.tensor(numbers(size(shape), seed), shape) as Tensor;

/** a b in double precision, of matrices in rows. */
function exact(a: Float32Array, b: Float32Array, [m, n, k]: number[], ta: boolean, tb: boolean): number[] {
  const sum = (i: number, j: number) => {
    let s = 0;
    for (let p = 0; p < k; p++) s += a[ta ? p * m + i : i * k + p] * b[tb ? j * k + p : p * n + j];
    return s;
  };
  return Array.from({ length: m * n }, (_, at) => sum(Math.floor(at / n), at % n));
}

function withoutKernels<T>(f: () => T): T {
  configureRuntime({ kernels: false });
  try {
    return f();
  } finally {
    configureRuntime({ kernels: true });
  }
}

const skip = hasKernels() ? false : "our own ops run on CPUs only";
/** Around the sizes of a tile (6 x 16, 14 x 32), of the packing's blocks of 8, of a block of k (256) and of few rows (24). */
const sizes = [
  [1, 1, 1],
  [1, 5, 300],
  [2, 16, 8],
  [5, 17, 9],
  [6, 16, 256],
  [7, 15, 257],
  [13, 31, 3],
  [16, 33, 40],
  [17, 32, 24],
  [24, 20, 31],
  [25, 20, 31],
  [193, 40, 20],
  [29, 50, 515],
  [100, 1, 17],
  [97, 70, 1],
];

for (const [ta, tb] of [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
]) {
  test(`MgMatMul equals the product in double precision, a ${ta ? "transposed" : "plain"}, b ${tb ? "transposed" : "plain"}`, {
    skip,
  }, () => {
    for (const [m, n, k] of sizes) {
      const a = random(ta ? [k, m] : [m, k], m + k);
      const b = random(tb ? [n, k] : [k, n], n + 7);
      const attrs = { transpose_a: ta, transpose_b: tb };
      const [c] = runKernel("MgMatMul", [a, b], attrs, [[m, n]]);
      const expected = exact(a.dataSync() as Float32Array, b.dataSync() as Float32Array, [m, n, k], ta, tb);
      close(c.dataSync(), expected, 1e-6 * Math.sqrt(k) + 1e-6);
    }
  });
}

test("MgMatMul says which shapes it cannot multiply", { skip }, () => {
  assert.throws(
    () => runKernel("MgMatMul", [random([2, 3], 1), random([2, 3], 2)], {}, [[2, 3]])[0].dataSync(),
    /cannot multiply \[2, 3\] by \[2, 3\]/,
  );
});

const products: [name: string, f: (...inputs: Tensor[]) => Tensor, shapes: number[][]][] = [
  ["linear with a bias, few rows", (x, w, b) => linear(x, w, b), [[2, 3, 20], [33, 20], [33]]],
  [
    "linear without a bias, many rows",
    (x, w) => linear(x, w),
    [
      [3, 40, 20],
      [33, 20],
    ],
  ],
  ["linear of one vector", (x, w, b) => linear(x, w, b), [[20], [7, 20], [7]]],
  [
    "matMul of a batch",
    (a, b) => matMul(a, b),
    [
      [2, 3, 5, 4],
      [2, 3, 4, 6],
    ],
  ],
  [
    "matMul of a batch, b transposed",
    (a, b) => matMul(a, b, { transposeB: true }),
    [
      [2, 5, 4],
      [2, 6, 4],
    ],
  ],
  [
    "matMul of a batch, a transposed",
    (a, b) => matMul(a, b, { transposeA: true }),
    [
      [2, 4, 5],
      [2, 4, 6],
    ],
  ],
  [
    "matMul, both transposed",
    (a, b) => matMul(a, b, { transposeA: true, transposeB: true }),
    [
      [4, 5],
      [6, 4],
    ],
  ],
  [
    "matMul of a batch by one matrix",
    (a, b) => matMul(a, b),
    [
      [3, 5, 4],
      [4, 6],
    ],
  ],
  [
    "matMul of a batch by one matrix, transposed",
    (a, b) => matMul(a, b, { transposeB: true }),
    [
      [3, 5, 4],
      [6, 4],
    ],
  ],
  [
    "matMul of one matrix by a batch",
    (a, b) => matMul(a, b),
    [
      [5, 4],
      [3, 4, 6],
    ],
  ],
  [
    "matMul that broadcasts both",
    (a, b) => matMul(a, b),
    [
      [2, 1, 5, 4],
      [3, 4, 6],
    ],
  ],
];

/** f's value and the gradients of all inputs, of a sum in which every element has its own weight. */
function valueAndGradients(f: (...inputs: Tensor[]) => Tensor, inputs: Tensor[]): Tensor[] {
  const weighted = (...args: Tensor[]) => {
    const y = f(...args);
    return tf.sum(tf.mul(y, random(y.shape, 5))) as Tensor;
  };
  const { value, grads } = tf.valueAndGrads(weighted as never)(inputs as never);
  return [value, ...(grads as unknown as Tensor[]), f(...inputs)] as Tensor[];
}

for (const [name, f, shapes] of products) {
  for (const mode of ["none", "graph"] as const) {
    test(`${name}: value and gradients are those of TensorFlow's ops, jit=${mode}`, { skip }, () => {
      const inputs = shapes.map((shape, i) => random(shape, i + 1));
      const ours = jit(() => valueAndGradients(f, inputs), { mode })();
      const theirs = withoutKernels(() => jit(() => valueAndGradients(f, inputs), { mode })());
      for (const [i, tensor] of ours.entries()) {
        assert.deepEqual(tensor.shape, theirs[i].shape);
        close(tensor.dataSync(), theirs[i].dataSync(), 2e-5);
      }
    });
  }
}

test("under autocast to bfloat16 operands and results are rounded once, and sums are float32", {
  skip,
}, () => {
  for (const [m, n, k] of [
    [3, 33, 96],
    [40, 33, 300],
  ]) {
    const [x, w, b] = [random([m, k], 1), random([n, k], 2), random([n], 3)];
    const y = jit(() => autocast("bfloat16", () => linear(x, w, b)), { mode: "graph" })().dataSync();
    const [xr, wr] = [x, w].map((t) => rounded(t.dataSync() as Float32Array));
    const products = rounded(Float32Array.from(exact(xr, wr, [m, n, k], false, true)));
    const bias = b.dataSync();
    // a sum that differs in float32's last place is now and then rounded to the neighbouring bfloat16
    const different = y.filter((value, i) => Math.abs(value - products[i] - bias[i % n]) > 1e-5);
    assert.ok(different.length <= 0.01 * m * n, `${different.length} of ${m * n} differ`);
  }
});

test("under autocast to bfloat16 a linear layer and its gradients are TensorFlow's, to bfloat16's last places", {
  skip,
}, () => {
  const inputs = [random([40, 96], 1), random([33, 96], 2), random([33], 3)];
  const run = () =>
    jit(() => autocast("bfloat16", () => valueAndGradients((x, w, b) => linear(x, w, b), inputs)), {
      mode: "graph",
    })();
  const theirs = withoutKernels(run);
  // TensorFlow's sums, too, are rounded to bfloat16 between blocks here
  for (const [i, tensor] of run().entries()) close(tensor.dataSync(), theirs[i].dataSync(), 2 ** -5);
});

test("a linear layer's training step has no op besides its three products", { skip }, () => {
  const [x, w, b] = [random([4, 10, 16], 1), random([8, 16], 2), random([8], 3)];
  const step = jit(
    (x: Tensor, w: Tensor, b: Tensor, dy: Tensor) =>
      tf.grads(linear as never)([x, w, b] as never, dy as never) as never,
    { mode: "graph" },
  );
  step(x, w, b, random([4, 10, 8], 4));
  const text = step.describe();
  assert.doesNotMatch(text, /Reshape|Transpose|Cast|Sum|MatMulV2/);
});

for (const rows of [1, 2, 7, 24, 40]) {
  test(`weights of 16 and of 8 bits: ${rows} rows times them equals the product with what they stand for`, {
    skip,
  }, () => {
    const [n, k] = [29, 75];
    const x = random([rows, k], 1);
    const bias = random([n], 2);
    const half = tf.tensor(numbers(n * k, 3), [n, k]);
    const expected = (values: Float32Array) => {
      const y = exact(x.dataSync() as Float32Array, values, [rows, n, k], false, true);
      const b = bias.dataSync();
      return y.map((value, i) => value + b[i % n]);
    };
    const linearOf = (dtype: number, inputs: Tensor[], scales: number) =>
      runKernel("MgLinear", inputs, { T: attr.type(dtype), S: attr.int(scales), B: attr.int(1) }, [
        [rows, n],
      ])[0];
    const cast = (t: Tensor, from: number, to: number) => castTo(t, from, to, [n, k]);
    const bfloat16 = jit(() => linearOf(14, [x, cast(half, 1, 14), bias], 0), { mode: "graph" })();
    close(bfloat16.dataSync(), expected(rounded(half.dataSync() as Float32Array)), 1e-5);

    const bytes = tf.tensor2d(
      Int32Array.from({ length: n * k }, (_, i) => ((i * 37) % 255) - 127),
      [n, k],
      "int32",
    );
    const scales = tf.tensor1d(Float32Array.from({ length: n }, (_, i) => 0.001 * (i + 1)));
    const values = Float32Array.from(bytes.dataSync(), (value, i) => value * 0.001 * (Math.floor(i / k) + 1));
    const int8 = jit(() => linearOf(6, [x, cast(bytes, 3, 6), scales, bias], 1), { mode: "graph" })();
    close(int8.dataSync(), expected(values), 5e-5);
  });
}

/** The nearest bfloat16, ties to even. */
function rounded(values: Float32Array): Float32Array {
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  return new Float32Array(bits.map((b) => (b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000).buffer);
}

function castTo(x: Tensor, from: number, to: number, shape: number[]): Tensor {
  return runKernel("Cast", [x], { SrcT: attr.type(from), DstT: attr.type(to) }, [shape])[0];
}
