/** How EnCodec's convolutions are normalised: by their weights, or by what they give. Names and layouts are PyTorch's. */
import { UserError } from "../../errors.ts";
import {
  type Initializer,
  type InitializerStream,
  layerNorm,
  Module,
  ones,
  Parameter,
  zeros,
} from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";

const convNorms = ["none", "weight_norm", "spectral_norm", "layer_norm", "time_group_norm"] as const;

/**
 * weight_norm: a weight in magnitude and direction. spectral_norm: a weight over its largest singular value. layer_norm: the
 * output over the channels of a frame. time_group_norm: the output over channels and the whole time.
 */
export type ConvNorm = (typeof convNorms)[number];

/** Of the norms of outputs (`norm_params`). */
export interface NormParams {
  eps: number;
  /** Scale and shift per channel. */
  affine: boolean;
}

/** Checks a `norm` of a config. */
export function parseConvNorm(norm: string, causal: boolean): ConvNorm {
  if (norm === "time_group_norm" && causal) {
    throw new UserError(
      "norm=time_group_norm looks at the whole time axis, so it can't be used with causal=true.",
    );
  }
  const known = convNorms.find((name) => name === norm);
  if (known !== undefined) return known;
  throw new UserError(`norm=${norm} is not built: use one of ${convNorms.join(", ")}.`);
}

/** Weight and bias of a convolution, the weight possibly in another parametrization. */
export abstract class ConvKernel extends Module {
  abstract readonly bias: Parameter;
  /** The weight, in PyTorch's layout. */
  abstract value(): Tensor;
}

/**
 * Draws PyTorch's default, U(-1/sqrt(n), 1/sqrt(n)) with n = the second axis times the kernel size. `outputs` is the axis of
 * the output channels: 0, transposed 1.
 */
export function buildKernel(
  shape: number[],
  outputs: 0 | 1,
  norm: ConvNorm,
  init: InitializerStream,
): ConvKernel {
  const bound = 1 / Math.sqrt(shape[1] * shape[2]);
  const draw = init.uniform(bound);
  const bias = new Parameter([shape[outputs]], init.uniform(bound));
  if (norm === "weight_norm") return new WeightNormKernel(shape, draw, bias);
  if (norm === "spectral_norm") return new SpectralNormKernel(shape, outputs, draw, bias, init);
  return new PlainKernel(shape, draw, bias);
}

class PlainKernel extends ConvKernel {
  readonly weight: Parameter;
  readonly bias: Parameter;

  constructor(shape: number[], draw: Initializer, bias: Parameter) {
    super();
    this.weight = new Parameter(shape, draw);
    this.bias = bias;
  }

  value(): Tensor {
    return this.weight.value;
  }
}

/** g v / |v|, with one norm per index of the first axis. */
export class WeightNormKernel extends ConvKernel {
  readonly bias: Parameter;
  readonly weightG: Parameter;
  readonly weightV: Parameter;

  constructor(shape: number[], draw: Initializer, bias: Parameter) {
    super();
    this.bias = bias;
    this.weightG = new Parameter([shape[0], 1, 1], () => rowNorms(draw(shape)));
    this.weightV = new Parameter(shape, draw);
  }

  value(): Tensor {
    const v = this.weightV.value;
    return tf.mul(v, tf.div(this.weightG.value, rowNorms(v)));
  }
}

function rowNorms(v: Tensor): Tensor {
  return tf.sqrt(tf.sum(tf.square(v), [1, 2], true));
}

/**
 * weight / sigma (Miyato et al. 2018), sigma = u W v its largest singular value by the power iteration, whose vectors are
 * buffers and constant to the gradient. W is the weight as a matrix with a row per output channel.
 */
export class SpectralNormKernel extends ConvKernel {
  readonly bias: Parameter;
  readonly weightOrig: Parameter;
  readonly weightU: Parameter;
  readonly weightV: Parameter;
  private readonly outputs: 0 | 1;

  constructor(shape: number[], outputs: 0 | 1, draw: Initializer, bias: Parameter, init: InitializerStream) {
    super();
    const rows = shape[outputs];
    const [first, second] = [init.standardNormal(), init.standardNormal()];
    const unit =
      (normal: Initializer): Initializer =>
      (size) =>
        normalized(normal(size));
    const buffer = (size: number, initial: Initializer) =>
      new Parameter([size], initial, { trainable: false });
    this.outputs = outputs;
    this.bias = bias;
    this.weightOrig = new Parameter(shape, draw);
    this.weightU = buffer(rows, unit(first));
    this.weightV = buffer(this.weightOrig.size / rows, unit(second));
  }

  value(): Tensor {
    const column = this.weightV.value.reshape([-1, 1]);
    const row = this.weightU.value.reshape([1, -1]);
    const sigma = tf.matMul(row as never, tf.matMul(this.matrix() as never, column as never)) as Tensor;
    return tf.div(this.weightOrig.value, sigma.reshape([]));
  }

  /** One step of the power iteration, as PyTorch takes before every training forward: v = W^T u, u = W v, normalised. */
  iterate(): void {
    const matrix = this.matrix();
    const u = this.weightU.value.reshape([1, -1]);
    const v = normalized((tf.matMul(u as never, matrix as never) as Tensor).reshape([-1]));
    const product = tf.matMul(matrix as never, v.reshape([-1, 1]) as never) as Tensor;
    this.weightV.assign(v);
    this.weightU.assign(normalized(product.reshape([-1])));
  }

  private matrix(): Tensor {
    const weight = this.weightOrig.value;
    const byOutput = this.outputs === 0 ? weight : tf.transpose(weight, [1, 0, 2]);
    return byOutput.reshape([this.weightU.size, -1]);
  }
}

function normalized(vector: Tensor): Tensor {
  return tf.div(vector, tf.maximum(tf.sqrt(tf.sum(tf.square(vector))), 1e-12));
}

/** A norm of outputs [B, T, C]. */
export abstract class OutputNorm extends Module {
  /** Whether a frame's norm depends on other frames. */
  abstract readonly overTime: boolean;
  abstract forward(x: Tensor): Tensor;
}

/** The norm of outputs that `norm` means, or null. */
export function buildOutputNorm(norm: ConvNorm, channels: number, params: NormParams): OutputNorm | null {
  if (norm === "time_group_norm") return new TimeGroupNorm(channels, params);
  if (norm === "layer_norm") return new ChannelNorm(channels, params);
  return null;
}

/** GroupNorm with one group: every clip is normalised over channels and time, then scaled per channel. */
class TimeGroupNorm extends OutputNorm {
  readonly overTime = true;
  readonly weight: Parameter | null;
  readonly bias: Parameter | null;
  private readonly epsilon: number;

  constructor(channels: number, { eps, affine }: NormParams) {
    super();
    this.epsilon = eps;
    this.weight = affine ? new Parameter([channels], ones) : null;
    this.bias = affine ? new Parameter([channels], zeros) : null;
  }

  forward(x: Tensor): Tensor {
    const centred = tf.sub(x, tf.mean(x, [1, 2], true));
    const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), [1, 2], true), this.epsilon));
    const normal = tf.mul(centred, rstd);
    if (this.weight === null) return normal;
    return tf.add(tf.mul(normal, this.weight.value), this.bias!.value);
  }
}

/** LayerNorm over the channels of every frame. */
class ChannelNorm extends OutputNorm {
  readonly overTime = false;
  readonly weight: Parameter;
  readonly bias: Parameter;
  private readonly epsilon: number;

  constructor(channels: number, { eps, affine }: NormParams) {
    super();
    if (!affine) throw new UserError("norm_params.affine=false is for norm=time_group_norm.");
    this.epsilon = eps;
    this.weight = new Parameter([channels], ones);
    this.bias = new Parameter([channels], zeros);
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight.value, this.bias.value, this.epsilon);
  }
}
