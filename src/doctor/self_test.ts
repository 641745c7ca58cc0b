/** Numeric checks of the installation: does TensorFlow compute what JavaScript computes, and the same in every mode? */
import { nativeInstallation } from "../runtime/native.ts";
import { findGpus } from "./machine.ts";

export interface Check {
  name: string;
  ok: boolean;
  detail: string;
}

type Runtime = typeof import("../runtime/index.ts");

const tolerance = 1e-5;

/** Yields each check as it ends. A check that cannot run is a failed one; nothing is thrown. */
export async function* selfTest(): AsyncGenerator<Check> {
  let runtime: Runtime;
  try {
    runtime = await import("../runtime/index.ts");
    yield { name: "TensorFlow loads", ok: true, detail: `device: ${runtime.isGpu ? "GPU" : "CPU"}` };
  } catch (error) {
    yield { name: "TensorFlow loads", ok: false, detail: firstLine(error) };
    return;
  }
  yield await attempt("matrix product", () => matrixProduct(runtime));
  yield await attempt("eager, graph and XLA agree", () => modesAgree(runtime));
  if (nativeInstallation().variant === "gpu" && findGpus().length > 0) {
    const detail = runtime.isGpu
      ? "in use"
      : "TensorFlow cannot use it and computes on the CPU: is the driver new enough for CUDA 12?";
    yield { name: "GPU", ok: runtime.isGpu, detail };
  }
}

/** [64, 48] x [48, 32] against sums in double precision. */
function matrixProduct({ tf }: Runtime): string {
  const [rows, inner, columns] = [64, 48, 32];
  const a = wave(rows * inner, 1);
  const b = wave(inner * columns, 2);
  const product = tf.tidy(() =>
    tf.matMul(tf.tensor2d(a, [rows, inner]), tf.tensor2d(b, [inner, columns])).dataSync(),
  );
  let error = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += a[i * inner + k]! * b[k * columns + j]!;
      error = Math.max(error, Math.abs(sum - product[i * columns + j]!));
    }
  }
  return within(error, "largest difference from plain JavaScript");
}

/** A small network's loss gradient, computed op by op, in the graph executor, and by XLA. */
function modesAgree({ tf, jit }: Runtime): string {
  const x = tf.tensor2d(wave(8 * 16, 3), [8, 16]);
  const w = tf.tensor2d(wave(16 * 12, 4), [16, 12]);
  const gradient = tf.grad((weights) =>
    tf
      .softmax(tf.tanh(tf.matMul(x, weights as typeof w)))
      .square()
      .sum(),
  );
  const results = (["none", "graph", "xla"] as const).map((mode) => {
    const compiled = jit((weights: typeof w) => gradient(weights), { name: "doctor", mode });
    const result = compiled(w);
    const values = result.dataSync() as Float32Array;
    result.dispose();
    compiled.dispose();
    return values;
  });
  tf.dispose([x, w]);
  const [eager, ...others] = results as [Float32Array, ...Float32Array[]];
  const size = Math.max(...eager.map(Math.abs));
  if (!(size > 0)) throw new Error("the gradient is zero or not a number");
  const error = Math.max(
    ...others.map((values) => Math.max(...values.map((value, i) => Math.abs(value - eager[i]!)))),
  );
  return within(error / size, "largest relative difference");
}

function within(error: number, what: string): string {
  const text = `${what} ${error.toExponential(1)}, allowed ${tolerance}`;
  if (!(error <= tolerance)) throw new Error(text);
  return text;
}

async function attempt(name: string, check: () => string): Promise<Check> {
  try {
    return { name, ok: true, detail: check() };
  } catch (error) {
    return { name, ok: false, detail: firstLine(error) };
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}

/** Reproducible numbers between -1 and 1. */
function wave(length: number, seed: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(seed * 12.9898 + i * 78.233) * Math.cos(i * seed));
}
