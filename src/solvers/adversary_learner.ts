/** A discriminator that learns while a codec is trained, with an optimizer of its own. */
import type { CompressionConfig } from "../config/index.ts";
import { AdversarialLoss, Adversary } from "../losses/adversarial.ts";
import { buildDiscriminator } from "../models/discriminators/index.ts";
import { codecJitMode } from "../models/encodec/jit_mode.ts";
import type { InitializerStream, Parameter } from "../nn/index.ts";
import { buildOptimizer, type Optimizer } from "../optim/index.ts";
import { jit, type Tensor, valueAndGradients } from "../runtime/index.ts";

export class AdversaryLearner {
  /** Of the discriminator: msstftd, mpd or msd. */
  readonly name: string;
  readonly adversary: Adversary;
  readonly optimizer: Optimizer;
  private readonly trainable: Parameter[];
  /** One update from waves [B, C, T], the model's and real ones, and the optimizer's numbers -> the loss from before it. */
  readonly train = jit(
    (fake: Tensor, real: Tensor, hyper: Record<string, Tensor>) => {
      const { loss, gradients } = valueAndGradients(
        () => ({ loss: this.adversary.discriminatorLoss(fake, real), aux: {} }),
        this.trainable,
      );
      this.optimizer.apply(gradients, null, hyper);
      return loss;
    },
    { name: "discriminator_step", mode: codecJitMode() },
  );

  constructor(name: string, cfg: CompressionConfig, init: InitializerStream) {
    this.name = name;
    const section = (cfg as unknown as Record<string, Record<string, unknown>>)[name] ?? {};
    this.adversary = new Adversary(
      buildDiscriminator(name, section, init),
      new AdversarialLoss(cfg.adversarial),
    );
    const named = this.parameters.filter(([, parameter]) => parameter.trainable);
    this.trainable = named.map(([, parameter]) => parameter);
    this.optimizer = buildOptimizer(cfg.optim.optimizer, named, cfg.optim.adam as never);
  }

  /** With the buffers of spectral norms. */
  get parameters(): [string, Parameter][] {
    return this.adversary.discriminator.namedParameters();
  }
}
