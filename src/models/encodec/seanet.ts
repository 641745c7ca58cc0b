/** SEANet encoder and decoder (EnCodec, arXiv 2210.13438, section 3.1): strided convolutions, residual units, an LSTM. */
import { UserError } from "../../errors.ts";
import type { InitializerStream } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import { type ActivationParams, buildActivation } from "./activation.ts";
import { Conv1d, ConvTranspose1d } from "./conv.ts";
import type { ConvNorm, NormParams } from "./conv_norm.ts";
import { chain, frames, joined, Kept, Layer, type LayerStream, lengthOf, through } from "./layer.ts";
import { ResidualLSTM } from "./lstm.ts";
import type { PadMode } from "./padding.ts";

/** The `seanet` section of a config, for one of encoder and decoder. */
export interface SEANetOptions {
  channels: number;
  dimension: number;
  nFilters: number;
  nResidualLayers: number;
  /** Upsampling ratios in the decoder's order; the encoder takes them reversed. */
  ratios: number[];
  activation: string;
  activationParams: ActivationParams;
  norm: ConvNorm;
  normParams: NormParams;
  kernelSize: number;
  lastKernelSize: number;
  residualKernelSize: number;
  dilationBase: number;
  causal: boolean;
  padMode: PadMode;
  trueSkip: boolean;
  compress: number;
  lstm: number;
  /** How many of the outermost blocks go without `norm`. */
  disableNormOuterBlocks: number;
  /** Of the decoder only. */
  trimRightRatio: number;
  finalActivation: string | null;
  finalActivationParams: ActivationParams;
}

/** wav [B, T, channels] -> latents [B, ceil(T / hop), dimension] */
export class SEANetEncoder extends Layer {
  readonly model: Layer[] = [];

  constructor(o: SEANetOptions, init: InitializerStream) {
    super();
    const blocks = blockCount(o);
    const norm = (block: number): ConvNorm => (o.disableNormOuterBlocks >= block ? "none" : o.norm);
    let width = o.nFilters;
    this.model.push(new Conv1d(o.channels, width, conv(o, o.kernelSize, norm(1)), init));
    for (const [i, ratio] of [...o.ratios].reverse().entries()) {
      this.model.push(...residualUnits(width, o, norm(i + 2), init), activation(o));
      const stride = { ...conv(o, 2 * ratio, norm(i + 2)), stride: ratio };
      this.model.push(new Conv1d(width, 2 * width, stride, init));
      width *= 2;
    }
    if (o.lstm > 0) this.model.push(new ResidualLSTM(width, o.lstm, init));
    this.model.push(activation(o));
    this.model.push(new Conv1d(width, o.dimension, conv(o, o.lastKernelSize, norm(blocks)), init));
  }

  forward(wav: Tensor): Tensor {
    return through(this.model, wav);
  }

  stream(): LayerStream {
    return chain(this.model);
  }
}

/** latents [B, T, dimension] -> wav [B, T * hop, channels] */
export class SEANetDecoder extends Layer {
  readonly model: Layer[] = [];

  constructor(o: SEANetOptions, init: InitializerStream) {
    super();
    const blocks = blockCount(o);
    const norm = (block: number): ConvNorm => (o.disableNormOuterBlocks >= block ? "none" : o.norm);
    let width = o.nFilters * 2 ** o.ratios.length;
    this.model.push(new Conv1d(o.dimension, width, conv(o, o.kernelSize, norm(blocks)), init));
    if (o.lstm > 0) this.model.push(new ResidualLSTM(width, o.lstm, init));
    for (const [i, ratio] of o.ratios.entries()) {
      const blockNorm = norm(blocks - 1 - i);
      const { causal, normParams, trimRightRatio } = o;
      const shape = { kernelSize: 2 * ratio, stride: ratio, causal, trimRightRatio };
      this.model.push(activation(o));
      this.model.push(new ConvTranspose1d(width, width / 2, { ...shape, norm: blockNorm, normParams }, init));
      width /= 2;
      this.model.push(...residualUnits(width, o, blockNorm, init));
    }
    this.model.push(activation(o));
    this.model.push(new Conv1d(width, o.channels, conv(o, o.lastKernelSize, norm(1)), init));
    if (o.finalActivation !== null) {
      this.model.push(buildActivation(o.finalActivation, o.finalActivationParams));
    }
  }

  forward(latents: Tensor): Tensor {
    return through(this.model, latents);
  }

  stream(): LayerStream {
    return chain(this.model);
  }
}

/** x + conv1(act(conv(act(x)))) through a bottleneck of width / compress channels. */
export class ResidualUnit extends Layer {
  readonly block: Layer[];
  /** A 1x1 convolution in the place of the identity, without true_skip. */
  readonly shortcut: Conv1d | null;

  constructor(width: number, dilation: number, o: SEANetOptions, norm: ConvNorm, init: InitializerStream) {
    super();
    const inner = Math.floor(width / o.compress);
    const first = { ...conv(o, o.residualKernelSize, norm), dilation };
    this.block = [
      activation(o),
      new Conv1d(width, inner, first, init),
      activation(o),
      new Conv1d(inner, width, conv(o, 1, norm), init),
    ];
    this.shortcut = o.trueSkip ? null : new Conv1d(width, width, conv(o, 1, norm), init);
  }

  forward(x: Tensor): Tensor {
    return through(this.block, x, this.shortcut === null ? x : this.shortcut.forward(x));
  }

  /** The skipped part waits for the block, which looks ahead. */
  stream(): LayerStream {
    const [block, shortcut] = [chain(this.block), this.shortcut?.stream()];
    const waiting = new Kept();
    return {
      push(x, last) {
        const skipped = joined(waiting.take(), shortcut ? shortcut.push(x, last) : x);
        const y = block.push(x, last);
        const ready = y === null ? 0 : lengthOf(y);
        const rest = skipped !== null && ready < lengthOf(skipped);
        waiting.set(rest ? frames(skipped, ready, lengthOf(skipped)) : null);
        return y === null ? null : tf.add(frames(skipped!, 0, ready), y);
      },
      dispose() {
        waiting.set(null);
        block.dispose();
        shortcut?.dispose();
      },
    };
  }
}

function activation(o: SEANetOptions): Layer {
  return buildActivation(o.activation, o.activationParams);
}

/** Blocks that `disableNormOuterBlocks` counts: the first and the last convolution, and one a ratio. */
function blockCount({ ratios, disableNormOuterBlocks: disabled }: SEANetOptions): number {
  const blocks = ratios.length + 2;
  if (Number.isInteger(disabled) && disabled >= 0 && disabled <= blocks) return blocks;
  throw new UserError(`seanet.disable_norm_outer_blocks=${disabled} is not between 0 and ${blocks}.`);
}

function residualUnits(width: number, o: SEANetOptions, norm: ConvNorm, init: InitializerStream): Layer[] {
  return Array.from(
    { length: o.nResidualLayers },
    (_, j) => new ResidualUnit(width, o.dilationBase ** j, o, norm, init),
  );
}

function conv(o: SEANetOptions, kernelSize: number, norm: ConvNorm) {
  return { kernelSize, causal: o.causal, padMode: o.padMode, norm, normParams: o.normParams };
}
