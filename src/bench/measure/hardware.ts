/** What the hardware can do at best, as far as TensorFlow and our kernels reach it: matrix products, and reading memory with all cores. */
import { linear } from "../../nn/index.ts";
import { attr, autocast, type Jitted, jit, runOp, scoped, type Tensor, tf } from "../../runtime/index.ts";
import { type Measurement, peakBytes } from "../measurement.ts";
import type { Request } from "../request.ts";
import { autocastOf, versions } from "./model.ts";
import { PRODUCTS, READ_BYTES } from "./products.ts";

/** The fastest run of each; the product through whichever way is fastest. */
export async function measureHardware({ precision }: Request): Promise<Measurement> {
  const series: Record<string, number[]> = {};
  for (const [rows, inner, columns] of PRODUCTS)
    series[`${rows} x ${inner} x ${columns}`] = [fastestProduct(rows, inner, columns, precision)];
  series["read 256 MiB"] = [fastestRead()];
  return { series, peakBytes: peakBytes(), facts: {}, versions: versions() };
}

function fastestProduct(
  rows: number,
  inner: number,
  columns: number,
  precision: Request["precision"],
): number {
  const product = (a: Tensor, b: Tensor, transpose: boolean) =>
    runOp("MatMul", [a, b], { T: attr.type("float32"), transpose_a: false, transpose_b: transpose })[0];
  const ways: ((x: Tensor, w: Tensor) => Tensor)[] = [
    (x, w) => linear(x, w, null),
    (x, w) => product(x, w, true),
    (x, w) => product(w, x, true), // the transposed result
  ];
  return scoped(() => {
    const [x, w] = [
      tf.randomUniform([rows, inner], -1, 1),
      tf.randomUniform([columns, inner], -1, 1),
    ] as Tensor[];
    return Math.min(
      ...ways.map((way) => {
        // only one value leaves the function: no copy of the product counts
        const run = jit((a: Tensor, b: Tensor) =>
          tf.slice(
            autocast(autocastOf(precision), () => way(a, b)),
            [0, 0],
            [1, 1],
          ),
        );
        return fastest(run, [x, w]);
      }),
    );
  });
}

function fastestRead(): number {
  return scoped(() => {
    const values = tf.ones([READ_BYTES / 4]) as Tensor;
    const square = values.reshape([1 << 10, -1]) as Tensor;
    return Math.min(
      fastest(
        jit((x: Tensor) => tf.sum(x) as Tensor),
        [values],
      ),
      fastest(
        jit((x: Tensor) => tf.max(x, 1) as Tensor),
        [square],
      ),
      fastest(
        jit((x: Tensor) => tf.sum(x, 1) as Tensor),
        [square],
      ),
    );
  });
}

/** Seconds of the fastest of several runs, the first not counted. */
function fastest<A extends Tensor[]>(run: Jitted<A, Tensor>, inputs: A, repeats = 6): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i <= repeats; i++) {
    const began = performance.now();
    run(...inputs).dataSync();
    if (i > 0) best = Math.min(best, performance.now() - began);
  }
  run.dispose();
  return best / 1000;
}
