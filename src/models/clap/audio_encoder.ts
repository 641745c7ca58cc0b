/**
 * CLAP's ear: HTS-AT (arXiv 2202.00874), a Swin transformer (arXiv 2103.14030) over a spectrogram that is folded into a
 * square image. Names and layouts are those of Hugging Face files. Inside, tensors are [B, height, width, C].
 */
import { LayerNorm, type Linear, Module, ones, Parameter, zeros } from "../../nn/index.ts";
import { type Tensor, type Tensor4D, tf } from "../../runtime/index.ts";
import { bicubicMatrix } from "./bicubic.ts";
import { audioFeatures, type ClapAudioConfig } from "./config.ts";
import { unset } from "./linear.ts";
import { SwinBlock } from "./swin.ts";

/** The weights start as zeros and ones: they always come from a file. Always in evaluation mode. */
export class ClapAudioEncoder extends Module {
  readonly batchNorm: {
    weight: Parameter;
    bias: Parameter;
    running_mean: Parameter;
    running_var: Parameter;
  };
  readonly patchEmbed: PatchEmbedding;
  readonly layers: Stage[];
  readonly norm: LayerNorm;
  private readonly config: ClapAudioConfig;

  constructor(config: ClapAudioConfig) {
    super();
    const { numMelBins, specSize, patchStride, depths, dim } = config;
    this.config = config;
    this.batchNorm = {
      weight: new Parameter([numMelBins], ones),
      bias: new Parameter([numMelBins], zeros),
      running_mean: new Parameter([numMelBins], zeros),
      running_var: new Parameter([numMelBins], ones),
    };
    this.patchEmbed = new PatchEmbedding(config);
    const side = Math.floor(specSize / patchStride);
    this.layers = depths.map(
      (_, i) => new Stage(config, i, dim * 2 ** i, Math.floor(side / 2 ** i), i < depths.length - 1),
    );
    this.norm = new LayerNorm(audioFeatures(config));
  }

  /** log-mel spectrograms [B, T, melBins] -> features [B, `audioFeatures`], the mean over all places */
  forward(mel: Tensor): Tensor {
    const patches = this.patchEmbed.forward(this.fold(this.normalize(mel)));
    const features = this.layers.reduce((x, stage) => stage.forward(x), patches);
    return tf.mean(this.norm.forward(features), [1, 2]);
  }

  /** Batch norm of every mel bin, by the statistics of training. */
  private normalize(mel: Tensor): Tensor {
    const { weight, bias, running_mean: mean, running_var: variance } = this.batchNorm;
    const scale = tf.mul(weight.value, tf.rsqrt(tf.add(variance.value, 1e-5)));
    return tf.add(tf.mul(tf.sub(mel, mean.value), scale), bias.value);
  }

  /**
   * [B, T, F] -> [B, specSize, specSize, 1]: stretched in time to fill the square, and cut into specSize / F pieces that
   * lie below each other.
   */
  private fold(mel: Tensor): Tensor {
    const { specSize, numMelBins } = this.config;
    const [batch, length] = mel.shape;
    const pieces = Math.floor(specSize / numMelBins);
    const target = specSize * pieces;
    if (length > target) throw new Error(`CLAP: ${length} frames do not fit into ${target}`);
    const stretch = tf.tile(bicubicMatrix(length, target).expandDims(0), [batch, 1, 1]);
    const stretched = length === target ? mel : tf.matMul(stretch as never, mel as never);
    return stretched
      .reshape([batch, pieces, specSize, numMelBins])
      .transpose([0, 1, 3, 2])
      .reshape([batch, pieces * numMelBins, specSize, 1]);
  }
}

class PatchEmbedding extends Module {
  readonly proj: { weight: Parameter; bias: Parameter };
  readonly norm: LayerNorm | null;
  private readonly stride: number;

  constructor({ patchSize, patchStride, dim, normalizesPatches }: ClapAudioConfig) {
    super();
    this.proj = {
      weight: new Parameter([dim, 1, patchSize, patchSize], zeros),
      bias: new Parameter([dim], zeros),
    };
    this.norm = normalizesPatches ? new LayerNorm(dim) : null;
    this.stride = patchStride;
  }

  /** [B, S, S, 1] -> [B, S / stride, S / stride, dim] */
  forward(image: Tensor): Tensor {
    const { weight, bias } = this.proj;
    const margin = Math.floor((weight.shape[2] - this.stride) / 2);
    const edge: [number, number] = [margin, margin];
    const padded = margin === 0 ? image : tf.pad(image, [[0, 0], edge, edge, [0, 0]]);
    const filter = tf.transpose(weight.value, [2, 3, 1, 0]) as Tensor4D;
    const patches = tf.add(tf.conv2d(padded as Tensor4D, filter, this.stride, "valid"), bias.value) as Tensor;
    return this.norm === null ? patches : this.norm.forward(patches);
  }
}

/** Blocks at one resolution, every second of which has its windows shifted; then four places become one. */
class Stage extends Module {
  readonly blocks: SwinBlock[];
  readonly downsample: PatchMerging | null;

  constructor(config: ClapAudioConfig, index: number, dim: number, side: number, merges: boolean) {
    super();
    const heads = config.numHeads[index];
    this.blocks = Array.from(
      { length: config.depths[index] },
      (_, block) => new SwinBlock(config, { dim, heads, side, isShifted: block % 2 === 1 }),
    );
    this.downsample = merges ? new PatchMerging(dim) : null;
  }

  forward(x: Tensor): Tensor {
    const y = this.blocks.reduce((hidden, block) => block.forward(hidden), x);
    return this.downsample === null ? y : this.downsample.forward(y);
  }
}

class PatchMerging extends Module {
  readonly norm: LayerNorm;
  readonly reduction: Linear;

  constructor(dim: number) {
    super();
    this.norm = new LayerNorm(4 * dim);
    this.reduction = unset(4 * dim, 2 * dim, false);
  }

  /** [B, S, S, C] -> [B, S / 2, S / 2, 2 C] of each two by two places; channels go by column, then row. */
  forward(x: Tensor): Tensor {
    const [batch, side, , channels] = x.shape;
    const half = Math.ceil(side / 2);
    const odd: [number, number] = [0, side % 2];
    const even = side % 2 === 0 ? x : tf.pad(x, [[0, 0], odd, odd, [0, 0]]);
    const fours = even
      .reshape([batch, half, 2, half, 2, channels])
      .transpose([0, 1, 3, 4, 2, 5])
      .reshape([batch, half, half, 4 * channels]);
    return this.reduction.forward(this.norm.forward(fours));
  }
}
