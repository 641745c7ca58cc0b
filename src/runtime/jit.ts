/**
 * jit: traces a function of tensors once per combination of shapes, through tfjs and its gradients, into one TensorFlow
 * function, and runs that from then on: in the graph executor, or compiled by XLA.
 *
 *   const step = jit((x: Tensor) => tf.tanh(tf.matMul(x, w.value)), { name: "step" });
 *   step(x);                        // traces, then runs
 *   console.log(step.describe());   // its ops, shapes and cost
 */
import { autocastType } from "./autocast.ts";
import { eagerBinding } from "./eager.ts";
import { withBinding } from "./ops.ts";
import { type JitMode, runtimeOptions } from "./options.ts";
import { firstId, type OpRecord, Recorder, TraceError } from "./recorder.ts";
import { addon, backend, isGpu, kernelsAllowed, realBinding, type Tensor, tf } from "./tensorflow.ts";
import { recordTrace } from "./traces.ts";
import { dtypeNumber, flatten, mapTensors, template } from "./tree.ts";
import type { Variable } from "./variable.ts";

export interface JitOptions {
  /** Name for errors and printouts; the function's own name otherwise. */
  name?: string;
  /** Overrides the mode that the configuration asks for. */
  mode?: JitMode;
}

export interface Jitted<A extends unknown[], R> {
  (...args: A): R;
  /** Text about every trace so far: inputs, outputs, op counts, estimated FLOPs and bytes. */
  describe(): string;
  /** The serialized GraphDef for these arguments, as Netron reads it (`.pb`). */
  graphDef(...args: A): Buffer;
  /** How many combinations of shapes were traced. */
  readonly traces: number;
  /** Frees the traced functions. */
  dispose(): void;
}

interface Trace {
  functionName: string;
  /** Functions that it calls. */
  functions: string[];
  signature: string;
  captured: number[];
  variables: Variable[];
  /** Those of them that it updates. */
  updated: Variable[];
  outputs: { dtype: number; shape: number[] }[];
  /** Rebuilds the function's result from its output tensors. */
  rebuild: (tensors: Tensor[]) => unknown;
  ops: OpRecord[];
  mode: JitMode;
}

let current: Recorder | null = null;
let functions = 0;

/** The recorder of the function that is being traced, if one is. */
export function currentRecorder(): Recorder | null {
  return current;
}

/** Records what `f` does, scopes and all, into `recorder`. */
export function recordInto(recorder: Recorder, f: () => void): void {
  const outer = current;
  current = recorder;
  try {
    withBinding(recorder.binding(), () => void tf.tidy(f));
  } finally {
    current = outer;
  }
}

/** A name for a function of TensorFlow's that no other has. */
export function functionName(name: string): string {
  return `${name.replace(/[^A-Za-z0-9_]/g, "_")}_${++functions}`;
}

/**
 * Runs `f` for each item, one after the other also in a graph: the ops of an item begin when the variables that the item
 * before updates are updated. Without it a graph's executor starts everything that is ready, and a loop over a model's
 * parameters would hold the temporaries of all of them at once.
 */
export function inTurn<T>(items: Iterable<T>, f: (item: T) => void): void {
  if (current) current.inTurn(items, f);
  else for (const item of items) f(item);
}

/**
 * The same tensors, but in a graph whatever is computed from them begins only when `after` is there. A computation that is
 * repeated later, to hold its values for a shorter time, needs it: the graph's optimizer would merge it with the first one.
 */
export function computeAfter(tensors: Tensor[], after: Tensor): Tensor[] {
  if (!current) return tensors;
  const ids = backend.getInputTensorIds([...tensors, after]);
  const delayed = current.delay(ids.slice(0, -1), ids[ids.length - 1]);
  return delayed.map((metadata) => backend.createOutputTensor(metadata));
}

/** Whether a function is being traced, so that nothing is computed. */
export function isTracing(): boolean {
  return current !== null;
}

/**
 * Whether our own ops can take part in what is computed or traced now: they have no implementation for GPUs and none for XLA.
 * Functions that use them have an equal composition of TensorFlow's ops for there.
 */
export function hasKernels(): boolean {
  return current ? current.hasKernels() : kernelsAllowed();
}

/** Whether what is computed now is traced for XLA, which does not have all of TensorFlow's ops. */
export function tracesForXla(): boolean {
  return current?.forXla ?? false;
}

/** Wraps `fn`. Inside another traced function it is inlined; with jit=none it runs op by op. */
export function jit<A extends unknown[], R>(fn: (...args: A) => R, options: JitOptions = {}): Jitted<A, R> {
  const name = options.name ?? (fn.name || "anonymous");
  const traces = new Map<string, Trace>();

  const call = (...args: A): R => {
    if (current) return fn(...args);
    const mode = options.mode ?? defaultMode();
    if (mode === "none") return withBinding(eagerBinding, () => tf.tidy(() => fn(...args) as never)) as R;
    const tensors: Tensor[] = [];
    const signature = flatten(args, tensors);
    const key = `${mode} ${autocastType()} ${runtimeOptions().kernels} ${signature}`;
    let trace = traces.get(key);
    if (!trace) {
      const began = performance.now();
      trace = record(name, fn, args, mode, signature);
      recordTrace({ name, signature, seconds: (performance.now() - began) / 1000 });
      traces.set(key, trace);
    }
    return run(trace, tensors) as R;
  };

  return Object.defineProperties(call, {
    describe: { value: () => [...traces.values()].map((trace) => describeTrace(name, trace)).join("\n") },
    graphDef: { value: (...args: A) => exportGraph(name, fn, args) },
    traces: { get: () => traces.size },
    dispose: {
      value: () => {
        for (const { functionName, functions } of traces.values())
          for (const name of [functionName, ...functions]) addon.removeFunction(name);
        traces.clear();
      },
    },
  }) as Jitted<A, R>;
}

function defaultMode(): JitMode {
  const { jit } = runtimeOptions();
  return jit === "auto" ? (isGpu ? "xla" : "graph") : jit;
}

function run(trace: Trace, tensors: Tensor[]): unknown {
  const ids = backend.getInputTensorIds(tensors);
  const inputs = [...ids, ...trace.captured, ...trace.variables.map((variable) => variable.handle)];
  const results = realBinding.executeOp(trace.functionName, [], inputs, trace.outputs.length);
  for (const variable of trace.updated) variable.changed();
  return trace.rebuild(results.map((metadata) => backend.createOutputTensor(metadata)));
}

/** Traces `fn` and registers it as a TensorFlow function. */
function record(
  name: string,
  fn: (...args: never[]) => unknown,
  args: unknown[],
  mode: JitMode,
  signature: string,
): Trace {
  const ownName = functionName(name);
  const { recorder, argumentIds, results, rebuild } = trace(name, fn, args, mode);
  const variables = [...recorder.variables.keys()];
  const inputs = [
    ...argumentIds,
    ...recorder.capturedInputs,
    ...variables.map((variable) => recorder.variables.get(variable)!.placeholder),
  ];
  try {
    recorder.graph.registerFunction(
      ownName,
      inputs,
      results.map(({ id }) => id),
      recorder.updates(),
      mode === "xla",
    );
  } catch (error) {
    throw new TraceError(`jit(${name}): ${(error as Error).message}`);
  } finally {
    recorder.graph.dispose();
  }
  return {
    functionName: ownName,
    functions: recorder.functions,
    signature,
    captured: recorder.captured,
    variables,
    updated: variables.filter((variable) => recorder.variables.get(variable)!.update !== null),
    outputs: results,
    rebuild,
    ops: recorder.ops,
    mode,
  };
}

function trace(name: string, fn: (...args: never[]) => unknown, args: unknown[], mode: JitMode) {
  const recorder = new Recorder(name, mode === "xla");
  const argumentIds: number[] = [];
  let rebuild: Trace["rebuild"] = () => undefined;
  const results: { id: number; dtype: number; shape: number[] }[] = [];
  try {
    recordInto(recorder, () => {
      const traced = mapTensors(args, (tensor) => {
        const metadata = recorder.argument(dtypeNumber(tensor), tensor.shape);
        argumentIds.push(metadata.id - firstId);
        return backend.createOutputTensor(metadata);
      }) as never[];
      const outputs: Tensor[] = [];
      const result = fn(...traced);
      rebuild = template(result, outputs);
      for (const id of backend.getInputTensorIds(outputs)) results.push(recorder.output(id));
    });
  } catch (error) {
    recorder.graph.dispose();
    throw error;
  }
  return { recorder, argumentIds, results, rebuild };
}

function exportGraph(name: string, fn: (...args: never[]) => unknown, args: unknown[]): Buffer {
  const { recorder } = trace(name, fn, args, "graph");
  try {
    return recorder.graph.graphDef();
  } finally {
    recorder.graph.dispose();
  }
}

function describeTrace(name: string, trace: Trace): string {
  const counts = new Map<string, { count: number; flops: number; bytes: number; largest: number[] }>();
  for (const op of trace.ops) {
    const entry = counts.get(op.type) ?? { count: 0, flops: 0, bytes: 0, largest: [] };
    counts.set(op.type, {
      count: entry.count + 1,
      flops: entry.flops + op.flops,
      bytes: entry.bytes + op.bytes,
      largest: [entry.largest, ...op.shapes].reduce((a, b) => (size(b) > size(a) ? b : a)),
    });
  }
  const rows = [...counts].sort((a, b) => b[1].flops - a[1].flops || b[1].count - a[1].count);
  const flops = rows.reduce((sum, [, row]) => sum + row.flops, 0);
  const bytes = rows.reduce((sum, [, row]) => sum + row.bytes, 0);
  const lines = rows.map(
    ([type, row]) =>
      `  ${type.padEnd(36)} ${String(row.count).padStart(6)} ${si(row.flops, "FLOP").padStart(12)} ${si(row.bytes, "B").padStart(10)}  up to [${row.largest}]`,
  );
  const outputs = trace.outputs.map(({ shape }) => `[${shape}]`).join(" ") || "nothing";
  return [
    `${name} (${trace.mode}): ${trace.signature} -> ${outputs}`,
    `  ${trace.ops.length} ops, ${trace.variables.length} variables, ${trace.captured.length} captured tensors, ${si(flops, "FLOP")}, ${si(bytes, "B")} moved (estimates)`,
    ...lines,
  ].join("\n");
}

function size(shape: number[]): number {
  return shape.length === 0 ? 0 : shape.reduce((a, b) => a * b, 1);
}

function si(value: number, unit: string): string {
  const prefixes = ["", "k", "M", "G", "T"];
  let index = 0;
  for (; value >= 1000 && index < prefixes.length - 1; index++) value /= 1000;
  return `${value >= 100 || index === 0 ? value.toFixed(0) : value.toFixed(1)} ${prefixes[index]}${unit}`;
}
