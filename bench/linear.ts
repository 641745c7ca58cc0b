/**
 * A linear layer's products, ours against TensorFlow's, at the sizes of MusicGen's training step and of its generation:
 *
 *     node --import tsx bench/linear.ts [bench|small] [train|generate]
 *
 * Train: GFLOP/s of the forward product and of both gradients, 4 x 501 rows, float32 and under autocast to bfloat16. Generate: GB/s at
 * which weights are read for a few rows. Medians of 7 runs after one to warm up, ours and theirs in turn.
 */
import { linear } from "../src/nn/index.ts";
import { autocast, configureRuntime, jit, type Tensor, tf, Variable } from "../src/runtime/index.ts";

const [size = "bench", what = "train"] = process.argv.slice(2);
const dim = size === "small" ? 1024 : 512;
const repeats = 7;
const random = (...shape: number[]) => tf.randomUniform(shape, -1, 1) as Tensor;

function median(run: () => Tensor): number {
  run().dispose();
  const times = Array.from({ length: repeats }, () => {
    const began = performance.now();
    const result = run();
    result.dataSync();
    result.dispose();
    return performance.now() - began;
  });
  return times.sort((a, b) => a - b)[repeats >> 1];
}

/** Milliseconds of `f` computed by our ops and by TensorFlow's. A result of one number keeps the copy to the host out of it. */
function compare(f: () => Tensor, dtype: "bfloat16" | null = null): [ours: number, theirs: number] {
  const [ours, theirs] = [true, false].map((kernels) => {
    configureRuntime({ kernels });
    const run = jit(f, { mode: "graph" });
    return median(() => autocast(dtype, () => run()));
  });
  configureRuntime({ kernels: true });
  return [ours, theirs];
}

const corner = (x: Tensor) => tf.slice(x.reshape([-1]), [0], [1]) as Tensor;

function training(): void {
  console.log("rows in out  type  product        ours  TensorFlow  GFLOP/s");
  const rows = 4 * 501;
  for (const [inner, out] of [
    [dim, dim],
    [dim, 3 * dim],
    [dim, 4 * dim],
    [4 * dim, dim],
    [dim, 2048],
  ]) {
    const [x, w, b, dy] = [random(rows, inner), random(out, inner), random(out), random(rows, out)];
    const gradient = (which: number) => () =>
      corner(
        tf.grads(((x: Tensor, w: Tensor) => linear(x, w, null)) as never)([x, w] as never, dy as never)[
          which
        ],
      );
    const products: [string, () => Tensor][] = [
      ["forward", () => corner(linear(x, w, b))],
      ["dX", gradient(0)],
      ["dW", gradient(1)],
    ];
    for (const dtype of [null, "bfloat16"] as const) {
      for (const [name, f] of products) {
        const rates = compare(f, dtype).map((ms) =>
          ((2 * rows * inner * out) / ms / 1e6).toFixed(1).padStart(8),
        );
        console.log(
          `${rows} ${inner} ${out}`.padEnd(16),
          (dtype ?? "float32").padEnd(9),
          name.padEnd(8),
          ...rates,
        );
      }
    }
  }
}

function generation(): void {
  console.log("rows in out  weights     ours  TensorFlow  GB/s of weights");
  // enough matrices that none stays in the caches
  const layers = Math.ceil((256 << 20) / (4 * 4 * dim * dim));
  const weights = Array.from(
    { length: layers },
    () => new Variable([4 * dim, dim], () => random(4 * dim, dim) as never),
  );
  const bytes = layers * 4 * dim * dim;
  const all = (f: (layer: number) => Tensor) => () =>
    tf.addN(Array.from({ length: layers }, (_, i) => corner(f(i)))) as Tensor;
  for (const rows of [1, 2, 4, 8, 16]) {
    const x = random(rows, dim);
    const rates = compare(all((i) => linear(x, weights[i].value))).map((ms) =>
      ((4 * bytes) / ms / 1e6).toFixed(1).padStart(8),
    );
    console.log(`${rows} ${dim} ${4 * dim}`.padEnd(16), "float32 ", ...rates);
  }
}

if (what === "train") training();
else generation();
