/** SEANet encoder and decoder (EnCodec, arXiv 2210.13438, section 3.1): strided convolutions, residual units, an LSTM. */
import { UserError } from "../../errors.ts";
import { type InitializerStream, Module } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { Conv1d, type ConvNorm, ConvTranspose1d } from "./conv.ts";
import { ResidualLSTM } from "./lstm.ts";

/** The `seanet` section of a config, for one of encoder and decoder. */
export interface SEANetOptions {
  channels: number;
  dimension: number;
  nFilters: number;
  nResidualLayers: number;
  /** Upsampling ratios in the decoder's order; the encoder takes them reversed. */
  ratios: number[];
  activation: string;
  alpha: number;
  norm: ConvNorm;
  kernelSize: number;
  lastKernelSize: number;
  residualKernelSize: number;
  dilationBase: number;
  causal: boolean;
  padMode: "constant" | "reflect";
  trueSkip: boolean;
  compress: number;
  lstm: number;
  /** How many of the outermost blocks go without `norm`. */
  disableNormOuterBlocks: number;
  /** Of the decoder only. */
  trimRightRatio: number;
  finalActivation: string | null;
}

type Layer = Module & { forward(x: Tensor): Tensor };

/** wav [B, T, channels] -> latents [B, ceil(T / hop), dimension] */
export class SEANetEncoder extends Module {
  readonly model: Layer[] = [];

  constructor(o: SEANetOptions, init: InitializerStream) {
    super();
    const blocks = o.ratios.length + 2;
    const norm = (block: number): ConvNorm => (o.disableNormOuterBlocks >= block ? "none" : o.norm);
    let width = o.nFilters;
    this.model.push(new Conv1d(o.channels, width, conv(o, o.kernelSize, norm(1)), init));
    for (const [i, ratio] of [...o.ratios].reverse().entries()) {
      this.model.push(...residualUnits(width, o, norm(i + 2), init), new Activation(o.activation, o.alpha));
      const stride = { ...conv(o, 2 * ratio, norm(i + 2)), stride: ratio };
      this.model.push(new Conv1d(width, 2 * width, stride, init));
      width *= 2;
    }
    if (o.lstm > 0) this.model.push(new ResidualLSTM(width, o.lstm, init));
    this.model.push(new Activation(o.activation, o.alpha));
    this.model.push(new Conv1d(width, o.dimension, conv(o, o.lastKernelSize, norm(blocks)), init));
  }

  forward(wav: Tensor): Tensor {
    return this.model.reduce((x, layer) => layer.forward(x), wav);
  }
}

/** latents [B, T, dimension] -> wav [B, T * hop, channels] */
export class SEANetDecoder extends Module {
  readonly model: Layer[] = [];

  constructor(o: SEANetOptions, init: InitializerStream) {
    super();
    const blocks = o.ratios.length + 2;
    const norm = (block: number): ConvNorm => (o.disableNormOuterBlocks >= block ? "none" : o.norm);
    let width = o.nFilters * 2 ** o.ratios.length;
    this.model.push(new Conv1d(o.dimension, width, conv(o, o.kernelSize, norm(blocks)), init));
    if (o.lstm > 0) this.model.push(new ResidualLSTM(width, o.lstm, init));
    for (const [i, ratio] of o.ratios.entries()) {
      const blockNorm = norm(blocks - 1 - i);
      const options = { kernelSize: 2 * ratio, stride: ratio, causal: o.causal, norm: blockNorm };
      this.model.push(new Activation(o.activation, o.alpha));
      this.model.push(
        new ConvTranspose1d(width, width / 2, { ...options, trimRightRatio: o.trimRightRatio }, init),
      );
      width /= 2;
      this.model.push(...residualUnits(width, o, blockNorm, init));
    }
    this.model.push(new Activation(o.activation, o.alpha));
    this.model.push(new Conv1d(width, o.channels, conv(o, o.lastKernelSize, norm(1)), init));
    if (o.finalActivation !== null) this.model.push(new Activation(o.finalActivation, 1));
  }

  forward(latents: Tensor): Tensor {
    return this.model.reduce((x, layer) => layer.forward(x), latents);
  }
}

/** x + conv1(act(conv(act(x)))) through a bottleneck of width / compress channels. */
export class ResidualUnit extends Module {
  readonly block: Layer[];
  /** A 1x1 convolution in the place of the identity, without true_skip. */
  readonly shortcut: Conv1d | null;

  constructor(width: number, dilation: number, o: SEANetOptions, norm: ConvNorm, init: InitializerStream) {
    super();
    const inner = Math.floor(width / o.compress);
    const first = { ...conv(o, o.residualKernelSize, norm), dilation };
    this.block = [
      new Activation(o.activation, o.alpha),
      new Conv1d(width, inner, first, init),
      new Activation(o.activation, o.alpha),
      new Conv1d(inner, width, conv(o, 1, norm), init),
    ];
    this.shortcut = o.trueSkip ? null : new Conv1d(width, width, conv(o, 1, norm), init);
  }

  forward(x: Tensor): Tensor {
    const skipped = this.shortcut === null ? x : this.shortcut.forward(x);
    return tf.add(
      skipped,
      this.block.reduce((y, layer) => layer.forward(y), x),
    );
  }
}

const activations: Record<string, (x: Tensor, alpha: number) => Tensor> = {
  ELU: (x, alpha) =>
    alpha === 1 ? tf.elu(x) : tf.add(tf.relu(x), tf.mul(tf.expm1(tf.minimum(x, 0)), alpha)),
  ReLU: (x) => tf.relu(x),
  Tanh: (x) => tf.tanh(x),
  Sigmoid: (x) => tf.sigmoid(x),
};

/** An activation by PyTorch's class name; `alpha` is ELU's. */
class Activation extends Module {
  private readonly apply: (x: Tensor, alpha: number) => Tensor;
  private readonly alpha: number;

  constructor(name: string, alpha: number) {
    super();
    if (!Object.hasOwn(activations, name)) {
      throw new UserError(
        `seanet activation=${name} is not built: use one of ${Object.keys(activations).join(", ")}.`,
      );
    }
    this.apply = activations[name];
    this.alpha = alpha;
  }

  forward(x: Tensor): Tensor {
    return this.apply(x, this.alpha);
  }
}

function residualUnits(width: number, o: SEANetOptions, norm: ConvNorm, init: InitializerStream): Layer[] {
  return Array.from(
    { length: o.nResidualLayers },
    (_, j) => new ResidualUnit(width, o.dilationBase ** j, o, norm, init),
  );
}

function conv(o: SEANetOptions, kernelSize: number, norm: ConvNorm) {
  return { kernelSize, causal: o.causal, padMode: o.padMode, norm };
}
