/**
 * A linear layer's products, ours against TensorFlow's, at the sizes of MusicGen's training step and of its generation:
 *
 *     node --import tsx bench/linear.ts [bench|small] [train|generate]
 *
 * Train: GFLOP/s of the forward product and of both gradients, 4 x 501 rows, float32 and under autocast to bfloat16. Generate: GB/s at
 * which weights are read for a few rows. Medians of 7 runs after one to warm up; per second, and per second of each core in use.
 */
import { linear } from "../src/nn/index.ts";
import { autocast, configureRuntime, jit, type Tensor, tf, Variable } from "../src/runtime/index.ts";

const [size = "bench", what = "train"] = process.argv.slice(2);
const dim = size === "small" ? 1024 : 512;
const repeats = 7;
/** The result of an op: what was made on the host would become a constant of the graph, and TensorFlow computes with those only once. */
const random = (...shape: number[]) => tf.neg(tf.randomUniform(shape, -1, 1)) as Tensor;

interface Cost {
  ms: number;
  /** Milliseconds of all cores: what a product costs even while others use the machine, too. */
  coreMs: number;
}

function cost(run: () => Tensor): Cost {
  run().dispose();
  const costs = Array.from({ length: repeats }, () => {
    const [began, used] = [performance.now(), process.cpuUsage()];
    const result = run();
    result.dataSync();
    result.dispose();
    const { user, system } = process.cpuUsage(used);
    return { ms: performance.now() - began, coreMs: (user + system) / 1000 };
  });
  const median = (of: (cost: Cost) => number) => costs.map(of).sort((a, b) => a - b)[repeats >> 1];
  return { ms: median(({ ms }) => ms), coreMs: median(({ coreMs }) => coreMs) };
}

/** What `f` costs computed by our ops and by TensorFlow's. A result of one number keeps the copy to the host out of it. */
function compare(f: () => Tensor, dtype: "bfloat16" | null = null): Cost[] {
  const costs = [true, false].map((kernels) => {
    configureRuntime({ kernels });
    const run = jit(f, { mode: "graph" });
    return cost(() => autocast(dtype, () => run()));
  });
  configureRuntime({ kernels: true });
  return costs;
}

/** `amount` in billions a second, of time and of core time, for each of `costs`. */
function rates(amount: number, costs: Cost[]): string {
  return costs
    .flatMap(({ ms, coreMs }) => [ms, coreMs])
    .map((ms) => (amount / ms / 1e6).toFixed(1).padStart(9))
    .join("");
}

const corner = (x: Tensor) => tf.slice(x.reshape([-1]), [0], [1]) as Tensor;

function training(): void {
  console.log("rows in out       type     product   GFLOP/s: ours, a core; TensorFlow's, a core");
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
        const line = rates(2 * rows * inner * out, compare(f, dtype));
        console.log(
          `${rows} ${inner} ${out}`.padEnd(17),
          (dtype ?? "float32").padEnd(8),
          name.padEnd(8),
          line,
        );
      }
    }
  }
}

function generation(): void {
  console.log("rows in out       GB/s of weights: ours, a core; TensorFlow's, a core");
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
    const line = rates(4 * bytes, compare(all((i) => linear(x, weights[i].value))));
    console.log(`${rows} ${dim} ${4 * dim}`.padEnd(17), line);
  }
}

if (what === "train") training();
else generation();
