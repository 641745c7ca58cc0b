/**
 * Loops whose length tensors decide on. In a traced function one becomes a While op of TensorFlow's, so that its steps
 * follow each other without JavaScript; op by op it is a loop of JavaScript's.
 *
 *   const [i, sum] = whileLoop([zero, zero], ([i]) => tf.less(i, n), ([i, sum]) => [tf.add(i, 1), tf.add(sum, i)]);
 */
import { currentRecorder, functionName, recordInto } from "./jit.ts";
import { LoopInputs, LoopRecorder } from "./loop_recorder.ts";
import { type Recorder, TraceError } from "./recorder.ts";
import { backend, scoped, type Tensor, tf } from "./tensorflow.ts";
import { dtypeNumber, flatten, mapTensors, type Tree, template } from "./tree.ts";
import type { Variable } from "./variable.ts";

export interface LoopOptions {
  /** The variables that the body updates, or reads after an update. All others are read once, before the loop. */
  updates?: readonly Variable[];
}

/**
 * Runs `body` on the state as long as `cond` gives true (a scalar of bools), and returns the last state. The state's
 * structure, types and shapes stay the same. Gradients do not go through it.
 */
export function whileLoop<S extends Tree>(
  state: S,
  cond: (state: S) => Tensor,
  body: (state: S) => S,
  { updates = [] }: LoopOptions = {},
): S {
  const outer = currentRecorder();
  return outer ? recordedLoop(outer, state, cond, body, updates) : plainLoop(state, cond, body);
}

function plainLoop<S extends Tree>(initial: S, cond: (state: S) => Tensor, body: (state: S) => S): S {
  let state = mapTensors(initial, (tensor) => tf.clone(tensor)) as S;
  while (scoped(() => cond(state).dataSync()[0])) {
    const before = state;
    state = tf.tidy(() => mapTensors(body(before), (tensor) => tf.clone(tensor)) as never) as S;
    mapTensors(before, (tensor) => tensor.dispose());
  }
  return state;
}

function recordedLoop<S extends Tree>(
  outer: Recorder,
  state: S,
  cond: (state: S) => Tensor,
  body: (state: S) => S,
  updates: readonly Variable[],
): S {
  const tensors: Tensor[] = [];
  const rebuild = template(state, tensors) as (tensors: Tensor[]) => S;
  const form = flatten(state, []);
  const inputs = new LoopInputs();
  const updatable = new Set(updates);
  const parts = [
    { part: "cond", f: (inner: S) => [cond(inner)] },
    {
      part: "body",
      f: (inner: S) => {
        const outputs: Tensor[] = [];
        const result = flatten(body(inner), outputs);
        if (result !== form)
          throw new TraceError(`jit(${outer.name}): a loop's body makes ${result} of its state ${form}`);
        return outputs;
      },
    },
  ].map(({ part, f }) => ({
    ...recordPart(`${outer.name}_${part}`, outer, f, tensors, rebuild, inputs, updatable),
  }));
  const names = parts.map(({ recorder, args, results }, index) => {
    const captured = recorder.capturedPlaceholders(); // now that both functions are known
    const name = functionName(recorder.name);
    const outputs = index === 0 ? results : [...results, ...captured];
    recorder.graph.registerFunction(name, [...args, ...captured], outputs, recorder.updates(), false);
    recorder.graph.dispose();
    outer.functions.push(...recorder.functions, name);
    outer.ops.push(...recorder.ops);
    return name;
  });
  const ids = backend.getInputTensorIds(tensors).map((id) => outer.graphId(id));
  const results = outer.addLoop(
    { cond: names[0], body: names[1] },
    [...ids, ...inputs.tensors],
    inputs.variables,
  );
  return rebuild(results.slice(0, ids.length).map((result) => backend.createOutputTensor(result)));
}

/** Records one function of a loop: its inputs for the state, and its results, as ids of its graph. */
function recordPart<S extends Tree>(
  name: string,
  outer: Recorder,
  f: (state: S) => Tensor[],
  tensors: Tensor[],
  rebuild: (tensors: Tensor[]) => S,
  inputs: LoopInputs,
  updatable: ReadonlySet<Variable>,
): { recorder: LoopRecorder; args: number[]; results: number[] } {
  const recorder = new LoopRecorder(name, outer, inputs, updatable);
  const args: number[] = [];
  const results: number[] = [];
  try {
    recordInto(recorder, () => {
      const state = tensors.map((tensor) => {
        const metadata = recorder.argument(dtypeNumber(tensor), tensor.shape);
        args.push(metadata.id - recorder.base);
        return backend.createOutputTensor(metadata);
      });
      for (const id of backend.getInputTensorIds(f(rebuild(state)))) results.push(recorder.graphId(id));
    });
  } catch (error) {
    recorder.graph.dispose();
    throw error;
  }
  return { recorder, args, results };
}
