/** Multi-layer LSTM over time: a fused TensorFlow op or a loop a layer, whatever the number of steps. */
import { type InitializerStream, Parameter, withGradient } from "../../nn/index.ts";
import { attr, runOp, type Tensor, tf, tracesForXla } from "../../runtime/index.ts";
import { DataType } from "../../runtime/native.ts";
import type { OpInput } from "../../runtime/ops.ts";
import { backend } from "../../runtime/tensorflow.ts";
import { Kept, Layer, type LayerStream } from "./layer.ts";
import { lstmLoop, lstmLoopFrom } from "./lstm_loop.ts";
import { lstmSteps } from "./lstm_steps.ts";

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
    let y = tf.transpose(x, [1, 0, 2]);
    for (let layer = 0; layer < this.layers; layer++) {
      const value = (name: string) => this.lstm[`${name}_l${layer}`].value;
      const isLong = value("bias_ih").size >= loopFrom && !takesGradient();
      const layerOf = tracesForXla() ? lstmSteps : isLong ? lstmLoop : lstmLayer;
      y = layerOf(y, value("weight_ih"), value("weight_hh"), tf.add(value("bias_ih"), value("bias_hh")));
    }
    return tf.add(x, tf.transpose(y, [1, 0, 2]));
  }

  stream(): LayerStream {
    const weights = Array.from({ length: this.layers }, (_, layer) =>
      tf.tidy(() => {
        const value = (name: string) => this.lstm[`${name}_l${layer}`].value;
        const transposed = [value("weight_ih"), value("weight_hh")].map((weight) => tf.transpose(weight));
        const bias = tf.add(value("bias_ih"), value("bias_hh"));
        const isLoop = bias.size >= loopFrom;
        return (isLoop ? [...transposed, bias] : [tf.concat(transposed, 0), bias]) as never;
      }),
    ) as Tensor[][];
    return new ResidualLSTMStream(weights);
  }
}

/** Keeps hidden and cell state of every layer. */
class ResidualLSTMStream implements LayerStream {
  /** Per layer: input and recurrent weights [I, 4D] and [D, 4D], in one for the fused op, and the bias. */
  private readonly weights: Tensor[][];
  private readonly states: [hidden: Kept, cell: Kept][];

  constructor(weights: Tensor[][]) {
    this.weights = weights.map((tensors) => tensors.map((tensor) => tf.keep(tensor)));
    this.states = weights.map(() => [new Kept(), new Kept()]);
  }

  push(x: Tensor | null): Tensor | null {
    if (x === null) return null;
    let y = tf.transpose(x, [1, 0, 2]);
    for (const [layer, weights] of this.weights.entries()) {
      const [hidden, cell] = this.states[layer];
      const zero = tf.zeros([x.shape[0], weights[weights.length - 1].size / 4]);
      const steps = weights.length === 3 ? lstmLoopFrom : lstmFusedFrom;
      const [outputs, ...after] = steps(y, weights as never, [hidden.take() ?? zero, cell.take() ?? zero]);
      hidden.set(after[0]);
      cell.set(after[1]);
      y = outputs;
    }
    return tf.add(x, tf.transpose(y, [1, 0, 2]));
  }

  dispose(): void {
    tf.dispose(this.weights as never);
    for (const kept of this.states.flat()) kept.set(null);
  }
}

/** From this many gates on, a loop's steps win more in their products than they cost (measured on CPU). */
const loopFrom = 4 * 512;

/** Whether tfjs is recording what is computed now, to differentiate it. */
function takesGradient(): boolean {
  return tf.engine().state.gradientDepth > 0;
}

/**
 * One layer from a zero state, as a fused op: x [T, B, I], input weights [4D, I], recurrent weights [4D, D], bias [4D], gates in the order
 * input, forget, cell, output (PyTorch's) -> hidden states [T, B, D].
 */
export function lstmLayer(x: Tensor, inputWeights: Tensor, recurrentWeights: Tensor, bias: Tensor): Tensor {
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
