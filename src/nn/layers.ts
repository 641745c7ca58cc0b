/** The layers that several models share. Weights have PyTorch's names and layouts. */
import type { Tensor } from "../runtime/index.ts";
import { embedding, layerNorm } from "./functional.ts";
import { type Initializer, type InitializerStream, ones, zeros } from "./initializers.ts";
import { linear } from "./linear.ts";
import { Module, Parameter } from "./module.ts";

export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  /** PyTorch's default: weight and bias U(-1/sqrt(in), 1/sqrt(in)). */
  constructor(
    inFeatures: number,
    outFeatures: number,
    init: InitializerStream,
    options: { bias?: boolean; weight?: Initializer; biasInit?: Initializer } = {},
  ) {
    super();
    const bound = 1 / Math.sqrt(inFeatures);
    this.weight = new Parameter([outFeatures, inFeatures], options.weight ?? init.uniform(bound));
    this.bias =
      (options.bias ?? true) ? new Parameter([outFeatures], options.biasInit ?? init.uniform(bound)) : null;
  }

  /** [..., in] -> [..., out] */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight.value, this.bias?.value ?? null);
  }
}

export class Embedding extends Module {
  readonly weight: Parameter;

  constructor(rows: number, dim: number, weight: Initializer) {
    super();
    this.weight = new Parameter([rows, dim], weight);
  }

  /** int32 [...] -> [..., dim] */
  forward(ids: Tensor): Tensor {
    return embedding(this.weight.value, ids);
  }
}

export class LayerNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  private readonly epsilon: number;

  constructor(dim: number, epsilon = 1e-5) {
    super();
    this.weight = new Parameter([dim], ones);
    this.bias = new Parameter([dim], zeros);
    this.epsilon = epsilon;
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight.value, this.bias.value, this.epsilon);
  }
}
