/**
 * The binding that records. While a function is traced, tfjs talks to this instead of TensorFlow: every op becomes a node
 * of a graph and answers with the shape that TensorFlow infers, so nothing is computed and no memory is taken.
 */
import { autocastType, executeWithAutocast, type OpExecutor } from "./autocast.ts";
import {
  AttrType,
  type Binding,
  DataType,
  type NativeGraph,
  type OpAttr,
  type TensorMetadata,
  type TypedArray,
} from "./native.ts";
import { dtypeNumber, shownType } from "./ops.ts";
import { addon, bindingWith, kernelsAllowed, realBinding } from "./tensorflow.ts";
import { type Variable, variableOfHandle } from "./variable.ts";

/** Ids of recorded tensors start here; ids of the real binding count up from 0 and never reach it. */
export const firstId = 1 << 29;

/** A traced function did what a graph can't hold; the message names the op and the line that asked for it. */
export class TraceError extends Error {
  override name = "TraceError";
}

/** What tracing found out about the function, for printing it. */
export interface OpRecord {
  type: string;
  shapes: number[][];
  flops: number;
  bytes: number;
}

interface VariableUse {
  placeholder: number;
  /** Value node since the last update, if it was read. */
  value: number | null;
  /** The last update; later reads and updates wait for it. */
  update: number | null;
  /** Reads since the last update; the next update waits for them. */
  reads: number[];
}

export class Recorder implements OpExecutor {
  /** Ids of the tensors recorded here start here, above those of a recorder around this one. */
  readonly base: number = firstId;
  readonly graph: NativeGraph = new addon.Graph();
  readonly ops: OpRecord[] = [];
  /** Ids of real tensors that the function closed over, in the order of their extra inputs. */
  readonly captured: number[] = [];
  readonly capturedInputs: number[] = [];
  readonly variables = new Map<Variable, VariableUse>();
  /** Names of the functions that the graph calls; whoever frees its function frees them, too. */
  readonly functions: string[] = [];
  readonly name: string;
  readonly forXla: boolean;
  private readonly types: number[] = [];
  private readonly shapes: (number[] | null)[] = [];
  /** The op that made each tensor. */
  private readonly origins: string[] = [];
  private readonly constants = new Map<number, { dtype: number; shape: number[]; values: TypedArray }>();
  private readonly graphIds = new Map<number, number>();
  private readonly casts = new Map<string, number>();
  /** Ops that every op added now has to wait for; see `inTurn`. */
  private waitFor: number[] = [];
  /** Shapes of the outputs of the next op, when it is one of ours. */
  private declared: number[][] | null = null;

  constructor(name: string, forXla: boolean) {
    this.name = name;
    this.forXla = forXla;
  }

  /** The object to put in the place of tfjs's binding. */
  binding(): Binding {
    return bindingWith({
      createTensor: (shape, dtype, values) => {
        const id = realBinding.createTensor(shape, dtype, values);
        if (ArrayBuffer.isView(values)) this.constants.set(id, { dtype, shape, values });
        return id;
      },
      deleteTensor: (id) => {
        if (id >= firstId) return;
        this.constants.delete(id);
        realBinding.deleteTensor(id);
      },
      tensorDataSync: (id) => {
        if (id < firstId) return realBinding.tensorDataSync(id);
        const what = `${this.origins[id - this.base] ?? "an argument"} [${this.shapes[id - this.base] ?? "?"}]`;
        throw this.error(
          `asks for the value of a tensor (${what}), which a graph does not have while it is traced`,
        );
      },
      executeOp: (name, attrs, inputs, outputs) => executeWithAutocast(this, name, attrs, inputs, outputs),
      declareShapes: (shapes) => {
        this.declared = shapes;
      },
    });
  }

  /** An input of the function. */
  argument(dtype: number, shape: number[]): TensorMetadata {
    const id = this.input(`arg_${this.types.length}`, dtype, shape);
    return { id: this.base + id, dtype, shape };
  }

  execute(name: string, attrs: OpAttr[], inputs: number[], outputs: number): TensorMetadata[] {
    const variables = inputs.map((id) => (id < firstId ? variableOfHandle(id) : undefined));
    if (name === "ReadVariableOp") return [this.readVariable(variables[0]!)];
    const graphInputs = inputs.map((id, i) =>
      variables[i] ? this.use(variables[i]).placeholder : this.graphId(id),
    );
    if (name === "MgMatMul" && this.declared === null)
      this.declared = [this.productShape(attrs, graphInputs)];
    const written = variables.filter((v): v is Variable => v !== undefined);
    const controls = written.flatMap((v) => this.mustPrecede(v));
    const results = this.add(name, attrs, graphInputs, controls, inputs);
    for (const variable of written) this.updated(variable, results[0].id - this.base);
    return results.slice(0, outputs);
  }

  dtypeOf(id: number): number {
    return this.types[this.graphId(id)];
  }

  cachedCast(id: number, dtype: number, make: () => number): number {
    const key = `${id}:${dtype}`;
    const known = this.casts.get(key);
    if (known !== undefined) return known;
    const cast = make();
    this.casts.set(key, cast);
    return cast;
  }

  release(): void {}

  hasKernels(): boolean {
    return kernelsAllowed() && !this.forXla;
  }

  /** Runs `f` for each item so that the ops of one begin when the updates of the one before are done. */
  inTurn<T>(items: Iterable<T>, f: (item: T) => void): void {
    const before = this.waitFor;
    for (const item of items) {
      const known = new Set(this.updates());
      f(item);
      const made = this.updates().filter((update) => !known.has(update));
      if (made.length > 0) this.waitFor = made;
    }
    this.waitFor = before;
  }

  /** The tensors again, as results of ops that run after `after`; see `computeAfter`. */
  delay(ids: number[], after: number): TensorMetadata[] {
    const control = this.graphId(after);
    if (!this.forXla)
      return ids.map((id) => this.add("Identity", [], [this.graphId(id)], [control], [id])[0]);
    // XLA knows no control dependencies, but a barrier whose results depend on all that goes in.
    const inputs = [...ids.map((id) => this.graphId(id)), control];
    const types = { name: "T", type: AttrType.type, value: inputs.map((id) => this.types[id]) };
    return this.add("XlaOptimizationBarrier", [types], inputs, [], [...ids, after]).slice(0, ids.length);
  }

  /** Makes the graph's tensor for an output of the function: never an input itself, and each a node of its own. */
  output(id: number): { id: number; dtype: number; shape: number[] } {
    const source = this.graphId(id);
    const [result] = this.add("Identity", [], [source], [], [id]);
    return { id: result.id - this.base, dtype: this.types[source], shape: result.shape };
  }

  /** The updates that must run though no output depends on them. */
  updates(): number[] {
    const last = [...this.variables.values()].flatMap((use) => (use.update === null ? [] : [use.update]));
    return [...new Set(last)]; // one op may update several variables
  }

  /** The graph's id of a tensor: recorded, constant, or captured from outside. */
  graphId(id: number): number {
    if (id >= this.base) return id - this.base;
    const known = this.graphIds.get(id);
    if (known !== undefined) return known;
    const constant = this.constants.get(id);
    let graphId: number;
    if (constant) {
      graphId = this.graph.constant(constant.dtype, constant.shape, constant.values);
      this.remember(graphId, constant.dtype, constant.shape);
      this.constants.delete(id);
    } else {
      graphId = this.capture(id);
    }
    this.graphIds.set(id, graphId);
    return graphId;
  }

  /** The shape of our own product when it stands for one of TensorFlow's: [..., m, k] [..., k, n] -> [..., m, n]. */
  private productShape(attrs: OpAttr[], inputs: number[]): number[] {
    const [a, b] = inputs.map((id) => this.shapes[id]!);
    const [transposeA, transposeB] = attrs.map(({ value }) => value);
    const axes = (shape: number[]) => [
      ...Array(Math.max(a.length, b.length) - shape.length).fill(1),
      ...shape.slice(0, -2),
    ];
    const batch = axes(a).map((size, i) => (size === 1 ? axes(b)[i] : size));
    return [...batch, a[a.length - (transposeA ? 1 : 2)], b[b.length - (transposeB ? 2 : 1)]];
  }

  /** Type and shape of a tensor by its graph's id. */
  describe(graphId: number): { dtype: number; shape: number[] | null } {
    return { dtype: this.types[graphId], shape: this.shapes[graphId] };
  }

  /** Makes an input for a tensor from outside; returns the graph's id. */
  protected capture(id: number): number {
    const { dtype, shape } = describeRealTensor(id);
    const graphId = this.input(`captured_${this.captured.length}`, dtype, shape);
    this.captured.push(id);
    this.capturedInputs.push(graphId);
    return graphId;
  }

  protected input(name: string, dtype: number, shape: number[] | null): number {
    const graphId = this.graph.placeholder(name, dtype, shape);
    this.remember(graphId, dtype, shape);
    return graphId;
  }

  use(variable: Variable): VariableUse {
    let use = this.variables.get(variable);
    if (!use) {
      const placeholder = this.input(`variable_${this.variables.size}`, DataType.resource, null);
      use = { placeholder, value: null, update: null, reads: [] };
      this.variables.set(variable, use);
    }
    return use;
  }

  /**
   * Adds the loop of two registered functions over tensors and variables, which it counts as updating. Returns what the
   * tensors are after it.
   */
  addLoop(
    functions: { cond: string; body: string },
    tensors: number[],
    variables: Variable[],
  ): TensorMetadata[] {
    const handles = variables.map((variable) => this.use(variable).placeholder);
    const inputs = [...tensors, ...handles];
    const attrs: OpAttr[] = [
      { name: "T", type: AttrType.type, value: inputs.map((id) => this.types[id]) },
      { name: "cond", type: AttrType.func, value: functions.cond },
      { name: "body", type: AttrType.func, value: functions.body },
    ];
    const controls = variables.flatMap((variable) => this.mustPrecede(variable));
    this.declared = tensors.map((id) => this.shapes[id]!);
    const ids = inputs.map((id) => this.base + id);
    const results = this.add("While", attrs, inputs, controls, ids);
    for (const variable of variables) this.updated(variable, results[0].id - this.base);
    return results.slice(0, tensors.length);
  }

  readVariable(variable: Variable): TensorMetadata {
    const use = this.use(variable);
    const dtype = dtypeNumber(variable.dtype);
    if (use.value === null) {
      const controls = use.update === null ? this.waitFor : [use.update, ...this.waitFor];
      const attrs = [{ name: "dtype", type: AttrType.type, value: dtype }];
      const [read] = this.graph.addOp("ReadVariableOp", "", attrs, [use.placeholder], controls);
      this.graph.setShape(read.id, variable.shape);
      this.remember(read.id, dtype, variable.shape);
      this.ops.push({
        type: "ReadVariableOp",
        shapes: [variable.shape],
        flops: 0,
        bytes: variable.size * width(dtype),
      });
      use.value = read.id;
      use.reads.push(read.id);
    }
    return { id: this.base + use.value, dtype: shownType(dtype), shape: variable.shape };
  }

  private mustPrecede(variable: Variable): number[] {
    const use = this.use(variable);
    return use.update === null ? use.reads : [...use.reads, use.update];
  }

  protected updated(variable: Variable, update: number): void {
    const use = this.use(variable);
    use.update = update;
    use.value = null;
    use.reads = [];
  }

  private add(
    name: string,
    attrs: OpAttr[],
    inputs: number[],
    controls: number[],
    ids: number[],
  ): TensorMetadata[] {
    let results: ReturnType<NativeGraph["addOp"]>;
    try {
      results = this.graph.addOp(name, "", attrs, inputs, [...controls, ...this.waitFor]);
    } catch (error) {
      throw this.error(`${name}(${ids.map((id) => this.show(id)).join(", ")}): ${(error as Error).message}`);
    }
    for (const [i, shape] of this.declared?.entries() ?? []) {
      this.graph.setShape(results[i].id, shape);
      results[i].shape = shape;
    }
    this.declared = null;
    for (const { shape, dtype } of results) {
      if (dtype !== 0 && dtype !== DataType.resource && (shape === null || shape.some((dim) => dim < 0))) {
        throw this.error(
          `${name} makes a tensor of shape ${shape ? `[${shape.map((d) => (d < 0 ? "?" : d))}]` : "unknown"}, which depends on values; a graph needs fixed shapes`,
        );
      }
    }
    const shapes = results.map(({ shape }) => shape ?? []);
    const described = results.map(({ id, dtype, shape }) => this.remember(id, dtype, shape));
    for (const { id } of results) this.origins[id] = name;
    this.ops.push({ type: name, shapes, ...this.cost(name, inputs, shapes) });
    return described;
  }

  protected remember(id: number, dtype: number, shape: number[] | null): TensorMetadata {
    this.types[id] = dtype;
    this.shapes[id] = shape;
    return { id: this.base + id, dtype: shownType(dtype), shape: shape ?? [] };
  }

  /** Estimated multiply-adds x 2 and bytes moved: products by their inner size, everything else one operation an element. */
  private cost(name: string, inputs: number[], outputs: number[][]): { flops: number; bytes: number } {
    const out = outputs.reduce((sum, shape) => sum + count(shape), 0);
    const read = inputs.reduce((sum, id) => sum + count(this.shapes[id] ?? []) * width(this.types[id]), 0);
    let flops = out;
    const first = this.shapes[inputs[0]] ?? [];
    const second = this.shapes[inputs[1]] ?? [];
    if (name === "MatMul" || name === "BatchMatMulV2") {
      // |A| |B| |C| = (batch)^3 (mkn)^2, so the inner size is sqrt(|A||B| / (|C| batch)).
      const batch = outputs[0].slice(0, -2).reduce((a, b) => a * b, 1);
      flops = 2 * out * Math.sqrt((count(first) * count(second)) / (out * batch));
    } else if (name === "MgMatMul") {
      // [m, k], or [k, m] when it is transposed
      const [rows, columns] = first.slice(-2);
      flops = 2 * out * (rows === outputs[0][outputs[0].length - 2] ? columns : rows);
    } else if (name === "MgLinear") {
      flops = 2 * out * second[1];
    } else if (name === "MgLinearGradient") {
      flops = 2 * count(first) * second[second.length - 1];
    } else if (name === "Conv2D") {
      flops = 2 * out * count(second.slice(0, 3));
    } else if (name === "Conv2DBackpropInput") {
      // each value of dy takes part as often as the filter [h, w, in, out] has weights per output channel
      flops = 2 * count(this.shapes[inputs[2]] ?? []) * count(second.slice(0, 3));
    } else if (name === "Conv2DBackpropFilter") {
      flops = 2 * count(this.shapes[inputs[2]] ?? []) * count(outputs[0].slice(0, 3));
    }
    return { flops, bytes: read + out * 4 };
  }

  private show(id: number): string {
    const shape = this.shapes[id >= this.base ? id - this.base : (this.graphIds.get(id) ?? -1)];
    return shape ? `[${shape}]` : "…";
  }

  protected error(what: string): TraceError {
    const mode = autocastType() === null ? "" : ` under autocast(${autocastType()})`;
    return new TraceError(`jit(${this.name})${mode}: ${what}\n  ${userLine()}`);
  }
}

function count(shape: number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

function width(dtype: number): number {
  if (dtype === DataType.bfloat16 || dtype === DataType.half) return 2;
  return dtype === DataType.bool || dtype === DataType.int8 ? 1 : 4;
}

/** The binding tells a tensor's type and shape only of results, so ask for an identity. */
function describeRealTensor(id: number): { dtype: number; shape: number[] } {
  const [copy] = realBinding.executeOp("Identity", [], [id], 1);
  realBinding.deleteTensor(copy.id);
  return copy;
}

/** The innermost line of the stack that is neither tfjs nor this runtime: the one that the user can change. */
function userLine(): string {
  const stack = (new Error().stack ?? "").split("\n").slice(1);
  const line = stack.find(
    (frame) => !/node_modules|tfjs[\w-]*\/src\/|src\/runtime\/|node:internal/.test(frame),
  );
  return (line ?? "at an unknown line").trim();
}
