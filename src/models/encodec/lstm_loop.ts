/**
 * The recurrence of an LSTM as a loop in the graph, for coding without gradients: the products with the input are one
 * matrix product over all steps, so a step reads half of what TensorFlow's fused op reads, and multiplies faster.
 */
import { attr, jit, runOp, type Tensor, tf } from "../../runtime/index.ts";
import { AttrType, DataType, type OpAttr } from "../../runtime/native.ts";
import { addon, backend } from "../../runtime/tensorflow.ts";

/** TensorFlow's number of the type of tensor lists. */
const variant = 21;

/**
 * One layer from a zero state: x [T, B, I], weights as in `lstmLayer` -> hidden states [T, B, D]. Not differentiable. Runs in the
 * graph executor wherever it is called: op by op there is no loop.
 */
export const lstmLoop = jit(
  (x: Tensor, inputWeights: Tensor, recurrentWeights: Tensor, bias: Tensor): Tensor => {
    const [, batch] = x.shape;
    const state = tf.zeros([batch, bias.size / 4]);
    const weights = [inputWeights, recurrentWeights].map((weight) => tf.transpose(weight));
    return loop(inputProducts(x, weights[0], bias), weights[1], state, state)[0];
  },
  { name: "lstm", mode: "graph" },
);

/**
 * The same from a state on: x [T, B, I], weights transposed ([I, 4D] and [D, 4D]), hidden and cell state [B, D] -> hidden states
 * [T, B, D], and the states after them.
 */
export const lstmLoopFrom = jit(
  (
    x: Tensor,
    [inputWeights, recurrentWeights, bias]: [Tensor, Tensor, Tensor],
    [hidden, cell]: [Tensor, Tensor],
  ): [Tensor, Tensor, Tensor] => loop(inputProducts(x, inputWeights, bias), recurrentWeights, hidden, cell),
  { name: "lstm_from", mode: "graph" },
);

/** x [T, B, I], weights [I, 4D], bias [4D] -> [T, B, 4D] */
function inputProducts(x: Tensor, weights: Tensor, bias: Tensor): Tensor {
  const [steps, batch, inner] = x.shape;
  const products = tf.matMul(x.reshape([steps * batch, inner]) as never, weights as never) as Tensor;
  return tf.add(products, bias).reshape([steps, batch, bias.size]);
}

/** inputs [T, B, 4D], weights [D, 4D], hidden and cell [B, D] -> hidden states [T, B, D], last hidden and cell state */
function loop(inputs: Tensor, weights: Tensor, hidden: Tensor, cell: Tensor): [Tensor, Tensor, Tensor] {
  const { binding } = backend;
  const [steps] = inputs.shape;
  const [batch, dimension] = hidden.shape;
  const id = (tensor: Tensor) => backend.getInputTensorIds([tensor])[0];
  const elementShape = id(tf.tensor1d([batch, dimension], "int32"));
  const count = id(tf.scalar(steps, "int32"));
  const listTypes = [typeAttr("element_dtype", DataType.float), typeAttr("shape_type", DataType.int32)];
  const [list] = binding.executeOp("TensorListReserve", listTypes, [elementShape, count], 1);
  const functions = stepFunctions(steps, batch, dimension);
  const states = binding.executeOp(
    "StatelessWhile",
    [
      { name: "T", type: AttrType.type, value: loopTypes },
      { name: "cond", type: AttrType.func, value: functions.condition },
      { name: "body", type: AttrType.func, value: functions.body },
    ],
    [id(tf.scalar(0, "int32")), list.id, id(hidden), id(cell), id(inputs), id(weights)],
    loopTypes.length,
  );
  const stackTypes = [
    typeAttr("element_dtype", DataType.float),
    { name: "num_elements", ...attr.int(steps) },
  ];
  const [outputs] = runOp(
    "TensorListStack",
    [{ handle: states[1].id }, tf.tensor1d([batch, dimension], "int32")],
    Object.fromEntries(stackTypes.map(({ name, ...rest }) => [name, rest])),
  );
  return [outputs, backend.createOutputTensor(states[2]), backend.createOutputTensor(states[3])];
}

/** Of what the loop carries: step, hidden states so far, hidden state, cell state, inputs, weights. */
const loopTypes = [DataType.int32, variant, DataType.float, DataType.float, DataType.float, DataType.float];

const registered = new Map<string, { condition: string; body: string }>();

/** The functions that TensorFlow calls before and in every step, made once per size. */
function stepFunctions(steps: number, batch: number, dimension: number): { condition: string; body: string } {
  const key = `${steps}_${batch}_${dimension}`;
  let functions = registered.get(key);
  if (functions === undefined) {
    const shapes = [
      [],
      [],
      [batch, dimension],
      [batch, dimension],
      [steps, batch, 4 * dimension],
      [dimension, 4 * dimension],
    ];
    functions = { condition: `lstm_condition_${key}`, body: `lstm_step_${key}` };
    registerFunction(functions.condition, shapes, (op, [step], constant) => [
      op("Less", [step, constant(steps)], int),
    ]);
    registerFunction(functions.body, shapes, (op, [step, list, hidden, cell, inputs, weights], constant) => {
      const gather = [
        typeAttr("Tparams", DataType.float),
        typeAttr("Tindices", DataType.int32),
        typeAttr("Taxis", DataType.int32),
      ];
      const input = op("GatherV2", [inputs, step, constant(0)], gather);
      const recurrent = op("MatMul", [hidden, weights], float);
      const split = [...float, { name: "num_split", ...attr.int(4) }];
      const first = op("Split", [constant(1), op("AddV2", [input, recurrent], float)], split);
      const [i, f, g, o] = [first, first + 1, first + 2, first + 3];
      const kept = op("Mul", [op("Sigmoid", [f], float), cell], float);
      const written = op("Mul", [op("Sigmoid", [i], float), op("Tanh", [g], float)], float);
      const nextCell = op("AddV2", [kept, written], float);
      const next = op("Mul", [op("Sigmoid", [o], float), op("Tanh", [nextCell], float)], float);
      const item = [typeAttr("element_dtype", DataType.float)];
      const longer = op("TensorListSetItem", [list, step, next], item);
      return [op("AddV2", [step, constant(1)], int), longer, next, nextCell, inputs, weights];
    });
    registered.set(key, functions);
  }
  return functions;
}

const int = [typeAttr("T", DataType.int32)];
const float = [typeAttr("T", DataType.float)];

/** Adds a TensorFlow function of the loop's state, built of single ops, to the context. */
function registerFunction(
  name: string,
  shapes: number[][],
  build: (
    op: (type: string, inputs: number[], attrs: OpAttr[]) => number,
    state: number[],
    constant: (value: number) => number,
  ) => number[],
): void {
  const graph = new addon.Graph();
  try {
    const state = shapes.map((shape, i) => graph.placeholder(`state_${i}`, loopTypes[i], shape));
    const results = build(
      (type, inputs, attrs) => graph.addOp(type, "", attrs, inputs, [])[0].id,
      state,
      (value) => graph.constant(DataType.int32, [], Int32Array.of(value)),
    );
    // A function's output must not be its input.
    const outputs = results.map((id) =>
      state.includes(id)
        ? graph.addOp("Identity", "", [typeAttr("T", loopTypes[state.indexOf(id)])], [id], [])[0].id
        : id,
    );
    graph.registerFunction(name, state, outputs, [], false);
  } finally {
    graph.dispose();
  }
}

function typeAttr(name: string, dtype: number): OpAttr {
  return { name, ...attr.type(dtype) };
}
