/**
 * Convolutions over time with EnCodec's padding and norms. Inside the codec tensors are [B, T, C]; weights have PyTorch's
 * layouts and names.
 */
import { UserError } from "../../errors.ts";
import type { InitializerStream, Parameter } from "../../nn/index.ts";
import { type Tensor, tf } from "../../runtime/index.ts";
import {
  buildKernel,
  buildOutputNorm,
  type ConvKernel,
  type ConvNorm,
  type NormParams,
  type OutputNorm,
} from "./conv_norm.ts";
import { ConvStream, ConvTransposeStream } from "./conv_stream.ts";
import { byKernel, convolve, convolvePhased, convolveTransposed, phased } from "./convolve.ts";
import { Folded } from "./folded.ts";
import { type Around, holding, Layer, type LayerStream, lengthOf, takesGradient } from "./layer.ts";
import { convPadding, type PadMode } from "./padding.ts";

export interface ConvOptions {
  kernelSize: number;
  stride?: number;
  dilation?: number;
  causal: boolean;
  norm: ConvNorm;
  normParams?: NormParams;
  padMode: PadMode;
}

/** PyTorch's. */
const defaultNormParams: NormParams = { eps: 1e-5, affine: true };

/** A layer with a filter that can be folded, and that takes ELU in passing. */
export abstract class ConvLayer extends Layer {
  abstract readonly kernel: ConvKernel;

  override get takesElu(): boolean {
    return true;
  }

  /** Brings its folded filter up to date. */
  abstract fold(): void;
  /** Frees it. */
  abstract unfold(): void;
}

/** Convolution whose output has ceil(T / stride) frames. */
export class Conv1d extends ConvLayer {
  readonly kernel: ConvKernel;
  readonly norm: OutputNorm | null;
  private readonly options: ConvOptions;
  private readonly folded: Folded;

  constructor(inChannels: number, outChannels: number, options: ConvOptions, init: InitializerStream) {
    super();
    const { norm, normParams = defaultNormParams } = options;
    this.options = options;
    this.kernel = buildKernel([outChannels, inChannels, options.kernelSize], 0, norm, init);
    this.norm = buildOutputNorm(norm, outChannels, normParams);
    this.folded = new Folded(
      () => variablesOf(this.kernel),
      () => filterOf(this.kernel.value()),
    );
  }

  protected override stateNames() {
    return { kernel: "conv.conv", norm: "conv.norm" };
  }

  /** [B, T, in] -> [B, ceil(T / stride), out] */
  forward(x: Tensor, around: Around = {}): Tensor {
    return this.forwardWith(x, this.folded.value, around);
  }

  stream(around: Pick<Around, "elu"> = {}): LayerStream {
    if (this.norm?.overTime || this.options.padMode === "circular") {
      return holding((x) => this.forward(x, around));
    }
    const { kernelSize, stride = 1, dilation = 1, causal, padMode } = this.options;
    const filter = tf.keep(tf.tidy(() => tf.clone(this.folded.value)));
    return new ConvStream(
      { kernelSize, stride, dilation, causal, padMode },
      {
        whole: (x) => this.forwardWith(x, filter, around),
        valid: (x) => this.convolved(x, filter, { left: 0, right: 0 }, around),
        dispose: () => filter.dispose(),
      },
    );
  }

  override fold(): void {
    this.folded.refresh("");
  }

  override unfold(): void {
    this.folded.dispose();
  }

  private forwardWith(x: Tensor, filter: Tensor, around: Around): Tensor {
    const { kernelSize, stride = 1, dilation = 1, causal } = this.options;
    return this.convolved(x, filter, convPadding(lengthOf(x), kernelSize, stride, dilation, causal), around);
  }

  private convolved(
    x: Tensor,
    filter: Tensor,
    padding: { left: number; right: number },
    { elu, skip }: Around,
  ): Tensor {
    const { stride = 1, dilation = 1, padMode } = this.options;
    const geometry = { stride, dilation, ...padding, padMode };
    const bias = this.kernel.bias.value;
    if (this.norm === null) return convolve(x, filter, bias, geometry, { elu, skip });
    const y = this.norm.forward(convolve(x, filter, bias, geometry, { elu }));
    return skip ? tf.add(y, skip) : y;
  }
}

export interface ConvTransposeOptions {
  kernelSize: number;
  stride: number;
  causal: boolean;
  norm: ConvNorm;
  normParams?: NormParams;
  /** Share of the surplus that a causal layer cuts at the right end, 0 to 1; the rest is cut at the left. */
  trimRightRatio: number;
}

/** Transposed convolution whose output has T * stride frames: the surplus of kernelSize - stride is trimmed. */
export class ConvTranspose1d extends ConvLayer {
  readonly kernel: ConvKernel;
  readonly norm: OutputNorm | null;
  private readonly options: ConvTransposeOptions;
  private readonly folded: Folded;

  constructor(
    inChannels: number,
    outChannels: number,
    options: ConvTransposeOptions,
    init: InitializerStream,
  ) {
    super();
    if (!options.causal && options.trimRightRatio !== 1) {
      throw new UserError("trim_right_ratio other than 1 is only for causal=true.");
    }
    if (!(options.trimRightRatio >= 0 && options.trimRightRatio <= 1)) {
      throw new UserError(`trim_right_ratio=${options.trimRightRatio} is not between 0 and 1.`);
    }
    const { norm, normParams = defaultNormParams } = options;
    this.options = options;
    this.kernel = buildKernel([inChannels, outChannels, options.kernelSize], 1, norm, init);
    this.norm = buildOutputNorm(norm, outChannels, normParams);
    this.folded = new Folded(
      () => variablesOf(this.kernel),
      () => this.coder().filter(filterOf(this.kernel.value())),
    );
  }

  protected override stateNames() {
    return { kernel: "convtr.convtr", norm: "convtr.norm" };
  }

  /** [B, T, in] -> [B, T * stride, out] */
  forward(x: Tensor, { elu, skip = null }: Around = {}): Tensor {
    const { kernelSize, stride } = this.options;
    const { left } = this.trim();
    const frames = lengthOf(x) * stride;
    const bias = this.kernel.bias.value;
    const transposed = (cut: { skip: number; frames: number }) =>
      takesGradient()
        ? convolveTransposed(x, filterOf(this.kernel.value()), bias, { stride, ...cut }, { elu })
        : this.coder().transposed(x, this.folded.value, bias, cut, elu);
    if (this.norm === null) return plus(transposed({ skip: left, frames }), skip);
    const full = this.norm.forward(transposed({ skip: 0, frames: frames + kernelSize - stride }));
    return plus(tf.slice(full, [0, left, 0], [x.shape[0], frames, this.kernel.bias.size]), skip);
  }

  stream({ elu }: Pick<Around, "elu"> = {}): LayerStream {
    if (this.norm?.overTime) return holding((x) => this.forward(x, { elu }));
    const { kernelSize, stride } = this.options;
    const coder = this.coder();
    const filter = tf.keep(tf.tidy(() => tf.clone(this.folded.value)));
    return new ConvTransposeStream(stride, this.trim().left, {
      full: (x) =>
        coder.transposed(x, filter, null, { skip: 0, frames: (lengthOf(x) - 1) * stride + kernelSize }, elu),
      finish: (y) => {
        const biased = tf.add(y, this.kernel.bias.value);
        return this.norm === null ? biased : this.norm.forward(biased);
      },
      dispose: () => filter.dispose(),
    });
  }

  override fold(): void {
    this.folded.refresh(String(byKernel(this.geometry)));
  }

  override unfold(): void {
    this.folded.dispose();
  }

  /** How the convolution is computed without gradients, and the form of the filter for it. */
  private coder() {
    const { stride } = this.options;
    const asKernel = byKernel(this.geometry);
    const transposedBy = asKernel ? convolvePhased : convolveTransposed;
    return {
      filter: (filter: Tensor) => (asKernel ? phased(filter, stride) : filter),
      transposed: (
        x: Tensor,
        filter: Tensor,
        bias: Tensor | null,
        cut: { skip: number; frames: number },
        elu = false,
      ) => transposedBy(x, filter, bias, { stride, ...cut }, { elu }),
    };
  }

  private get geometry() {
    return { stride: this.options.stride, dilation: 1 };
  }

  private trim(): { left: number; right: number } {
    const { kernelSize, stride, causal, trimRightRatio } = this.options;
    const surplus = kernelSize - stride;
    const right = causal ? Math.ceil(surplus * trimRightRatio) : Math.floor(surplus / 2);
    return { left: surplus - right, right };
  }
}

/** Valid convolution. x [B, T, in], weight [out, in, k] -> [B, (T - dilation (k - 1) - 1) / stride + 1, out]. */
export function conv1d(x: Tensor, weight: Tensor, stride: number, dilation = 1): Tensor {
  return convolve(x, filterOf(weight), null, { stride, dilation, left: 0, right: 0, padMode: "constant" });
}

/** PyTorch's weight [a, b, k] in the layout of kernels: [k, b, a]. */
function filterOf(weight: Tensor): Tensor {
  return tf.transpose(weight, [2, 1, 0]);
}

function variablesOf(kernel: ConvKernel): Parameter[] {
  return kernel.namedParameters().map(([, parameter]) => parameter);
}

function plus(y: Tensor, term: Tensor | null): Tensor {
  return term === null ? y : tf.add(y, term);
}
