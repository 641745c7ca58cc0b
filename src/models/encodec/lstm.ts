/** Multi-layer LSTM over time: our own op a layer, or on other devices than CPUs TensorFlow's fused op or a loop. */
import { type InitializerStream, linear, Parameter, withGradient } from "../../nn/index.ts";
import { attr, hasKernels, runKernel, runOp, type Tensor, tf, tracesForXla } from "../../runtime/index.ts";
import { DataType } from "../../runtime/native.ts";
import type { OpInput } from "../../runtime/ops.ts";
import { backend } from "../../runtime/tensorflow.ts";
import { frames, Kept, Layer, type LayerStream, lengthOf, takesGradient } from "./layer.ts";
import { lstmLoop, lstmLoopFrom } from "./lstm_loop.ts";
import { lstmSteps } from "./lstm_steps.ts";

/** What an LSTM layer is made of: weights [4D, I] and [4D, D], bias [4D], gates in the order input, forget, cell, output (PyTorch's). */
export interface LstmWeights {
  input: Tensor;
  recurrent: Tensor;
  bias: Tensor;
}

/** Hidden and cell state, [B, D] each. */
export type LstmState = [hidden: Tensor, cell: Tensor];

/** The LSTM of SEANet: as many outputs as inputs, and the input added to the output. */
export class ResidualLSTM extends Layer {
  /** PyTorch's names: weight_ih_l0 [4D, D], weight_hh_l0 [4D, D], bias_ih_l0 [4D], bias_hh_l0 [4D], … */
  readonly lstm: Record<string, Parameter> = {};
  private readonly layers: number;

  /** PyTorch's default: everything U(-1/sqrt(D), 1/sqrt(D)). */
  constructor(dimension: number, layers: number, init: InitializerStream) {
    super();
    this.layers = layers;
    const bound = 1 / Math.sqrt(dimension);
    const make = (shape: number[]) => new Parameter(shape, init.uniform(bound));
    for (let layer = 0; layer < layers; layer++) {
      this.lstm[`weight_ih_l${layer}`] = make([4 * dimension, dimension]);
      this.lstm[`weight_hh_l${layer}`] = make([4 * dimension, dimension]);
      this.lstm[`bias_ih_l${layer}`] = make([4 * dimension]);
      this.lstm[`bias_hh_l${layer}`] = make([4 * dimension]);
    }
  }

  /** [B, T, D] -> [B, T, D] */
  forward(x: Tensor): Tensor {
    const weights = Array.from({ length: this.layers }, (_, layer) => this.weights(layer));
    return tf.add(
      x,
      weights.reduce((y, layer) => lstmLayer(y, layer), x),
    );
  }

  stream(): LayerStream {
    const weights = Array.from({ length: this.layers }, (_, layer) =>
      tf.tidy(() => this.weights(layer) as never),
    );
    return new ResidualLSTMStream(weights);
  }

  private weights(layer: number): LstmWeights {
    const value = (name: string) => this.lstm[`${name}_l${layer}`].value;
    return {
      input: value("weight_ih"),
      recurrent: value("weight_hh"),
      bias: tf.add(value("bias_ih"), value("bias_hh")),
    };
  }
}

/** Keeps hidden and cell state of every layer. */
class ResidualLSTMStream implements LayerStream {
  private readonly weights: LstmWeights[];
  private readonly states: [hidden: Kept, cell: Kept][];

  constructor(weights: LstmWeights[]) {
    this.weights = weights;
    for (const { input, recurrent, bias } of weights)
      for (const each of [input, recurrent, bias]) tf.keep(each);
    this.states = weights.map(() => [new Kept(), new Kept()]);
  }

  push(x: Tensor | null): Tensor | null {
    if (x === null) return null;
    let y = x;
    for (const [layer, weights] of this.weights.entries()) {
      const [hidden, cell] = this.states[layer];
      const zero = tf.zeros([x.shape[0], weights.bias.size / 4]);
      const [outputs, state] = lstmFrom(y, weights, [hidden.take() ?? zero, cell.take() ?? zero]);
      hidden.set(state[0]);
      cell.set(state[1]);
      y = outputs;
    }
    return tf.add(x, y);
  }

  dispose(): void {
    tf.dispose(this.weights as never);
    for (const kept of this.states.flat()) kept.set(null);
  }
}

/** From this many gates on, a loop's steps win more in their products than they cost (measured on CPU). */
const loopFrom = 4 * 512;

/** One layer from a zero state: x [B, T, I] -> hidden states [B, T, D]. */
export function lstmLayer(x: Tensor, weights: LstmWeights): Tensor {
  if (hasKernels()) return recurrence(inputProducts(x, weights), weights.recurrent);
  const { input, recurrent, bias } = weights;
  const byTime = tf.transpose(x, [1, 0, 2]);
  const isLong = bias.size >= loopFrom && !takesGradient();
  const composed = tracesForXla() ? lstmSteps : isLong ? lstmLoop : lstmFused;
  return tf.transpose(composed(byTime, input, recurrent, bias), [1, 0, 2]);
}

/** One layer from a state on: x [B, T, I] -> hidden states [B, T, D], and the state after them. Not differentiable. */
function lstmFrom(x: Tensor, weights: LstmWeights, state: LstmState): [Tensor, LstmState] {
  if (hasKernels()) {
    const [hidden, cells] = runLstm(inputProducts(x, weights), weights.recurrent, state);
    const last = (states: Tensor) => frames(states, lengthOf(x) - 1, lengthOf(x)).squeeze([1]) as Tensor;
    return [hidden, [last(hidden), last(cells)]];
  }
  const byTime = tf.transpose(x, [1, 0, 2]);
  const [input, recurrent] = [weights.input, weights.recurrent].map((matrix) => tf.transpose(matrix));
  const [hidden, ...after] =
    weights.bias.size >= loopFrom
      ? lstmLoopFrom(byTime, [input, recurrent, weights.bias], state)
      : lstmFusedFrom(byTime, [tf.concat([input, recurrent], 0), weights.bias], state);
  return [tf.transpose(hidden, [1, 0, 2]), after];
}

/** What the input adds to the gates of every step: [B, T, I] -> [B, T, 4D] */
function inputProducts(x: Tensor, { input, bias }: LstmWeights): Tensor {
  return linear(x, input, bias);
}

/** By our own op: what the input adds to the gates [B, T, 4D], recurrent weights [4D, D] -> hidden states [B, T, D], from a zero state. */
function recurrence(inputs: Tensor, weights: Tensor): Tensor {
  const [batch, steps] = inputs.shape;
  const [, units] = weights.shape;
  return withGradient([inputs, weights], ([x, w], save) => {
    const zero = tf.zeros([batch, units]) as Tensor;
    const [hidden, cells, gates] = runLstm(x, w, [zero, zero]);
    save([hidden, cells, gates, zero, w]);
    return {
      value: hidden,
      gradFunc: (dy, [h, c, g, start, recurrent]) => {
        const [gradient] = runKernel("MgLstmGradient", [dy, g, c, start, recurrent], {}, [x.shape]);
        const before = tf.concat([start.expandDims(1), frames(h, 0, steps - 1)], 1).reshape([-1, units]);
        const product = tf.matMul(gradient.reshape([-1, 4 * units]) as never, before as never, true, false);
        return [gradient, product as Tensor];
      },
    };
  });
}

/** The op: hidden states [B, T, D], cell states [B, T, D], gates [B, T, 4D]. */
function runLstm(inputs: Tensor, weights: Tensor, [hidden, cell]: LstmState): Tensor[] {
  const [batch, steps] = inputs.shape;
  const states = [batch, steps, weights.shape[1]!];
  return runKernel("MgLstm", [inputs, weights, hidden, cell], {}, [states, states, inputs.shape]);
}

/**
 * One layer from a zero state, as TensorFlow's fused op: x [T, B, I], input weights [4D, I], recurrent weights [4D, D], bias [4D]
 * -> hidden states [T, B, D].
 */
export function lstmFused(x: Tensor, inputWeights: Tensor, recurrentWeights: Tensor, bias: Tensor): Tensor {
  const weights = tf.transpose(tf.concat([inputWeights, recurrentWeights], 1));
  return withGradient([x, weights, bias], ([input, w, b], save) => {
    const [steps, batch] = input.shape;
    const state = tf.zeros([batch, b.size / 4]);
    const { inputs, outputs } = blockLSTM(input, w, b, state, state);
    save([...inputs, ...outputs]);
    return {
      value: outputs[6],
      gradFunc: (dy, saved) => {
        const noGradient = tf.zerosLike(dy); // of the cell states, which nobody reads
        const gradients = withInt64(steps, (n) =>
          runOp("BlockLSTMGradV2", [n, ...saved, noGradient, dy], attrs, 8),
        );
        return [gradients[0], gradients[3], gradients[7]];
      },
    };
  });
}

/** The fused op from a state on; as `lstmLoopFrom`, with the weights in one, [I + D, 4D]. */
function lstmFusedFrom(
  x: Tensor,
  [weights, bias]: Tensor[],
  [hidden, cell]: [Tensor, Tensor],
): [Tensor, Tensor, Tensor] {
  const [, cells, , , , , outputs] = blockLSTM(x, weights, bias, hidden, cell).outputs;
  const last = (states: Tensor) => tf.slice(states, [x.shape[0] - 1, 0, 0], [1, -1, -1]).squeeze([0]);
  return [outputs, last(outputs), last(cells)];
}

/** Outputs: input gate, cell state, forget gate, output gate, cell input, tanh of the cell state, hidden state. */
function blockLSTM(x: Tensor, weights: Tensor, bias: Tensor, hidden: Tensor, cell: Tensor) {
  const noPeephole = tf.zeros([bias.size / 4]);
  const inputs = [x, cell, hidden, weights, noPeephole, noPeephole, noPeephole, bias];
  const outputs = withInt64(x.shape[0], (n) =>
    runOp("BlockLSTMV2", [n, ...inputs], { ...attrs, ...clip }, 7),
  );
  return { inputs, outputs };
}

const attrs = { use_peephole: false, T: attr.type("float32") };
const clip = { cell_clip: attr.float(0) };

/** Hands an op a 64-bit integer scalar, a type that tfjs has no tensors of. */
function withInt64(value: number, f: (scalar: OpInput) => Tensor[]): Tensor[] {
  const { binding } = backend;
  const [source] = backend.getInputTensorIds([tf.scalar(value, "int32")]);
  const cast = [
    { name: "SrcT", ...attr.type("int32") },
    { name: "DstT", ...attr.type(DataType.int64) },
  ];
  const [{ id }] = binding.executeOp("Cast", cast, [source], 1);
  const result = f({ handle: id });
  binding.deleteTensor(id);
  return result;
}
