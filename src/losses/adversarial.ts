/** Losses of a discriminator and of the model that tries to fool it. */
import { UserError } from "../errors.ts";
import type { Discriminator, Verdict } from "../models/discriminators/index.ts";
import { type Tensor, tf } from "../runtime/index.ts";
import { l1, l2 } from "./distance.ts";

/** One loss per place of the logits, each meant for one purpose. */
export interface Criterion {
  /** Of the model: how little its output is taken for real. */
  generator(logits: Tensor): Tensor;
  /** Of the discriminator, on real audio and on the model's. */
  real(logits: Tensor): Tensor;
  fake(logits: Tensor): Tensor;
}

/** mean max(0, 1 - x) */
const above = (x: Tensor): Tensor => tf.mean(tf.relu(tf.sub(1, x)));
/** mean max(0, 1 + x) */
const below = (x: Tensor): Tensor => tf.mean(tf.relu(tf.add(1, x)));
const squared =
  (target: number) =>
  (x: Tensor): Tensor =>
    tf.mean(tf.square(tf.sub(x, target)));

const hinge: Criterion = { generator: (x) => tf.neg(tf.mean(x)), real: above, fake: below };

const criteria: Record<string, Criterion> = {
  hinge,
  hinge2: { ...hinge, generator: above },
  mse: { generator: squared(1), real: squared(1), fake: squared(0) },
};

const distances: Record<string, (a: Tensor, b: Tensor) => Tensor> = { l1, l2 };

/** The `adversarial` section of a config. */
export interface AdversarialOptions {
  adv_loss: string;
  /** Distance of feature maps; null: no such loss. */
  feat_loss?: string | null;
  /** Means over parts and layers instead of sums. */
  normalize?: boolean;
}

export class AdversarialLoss {
  readonly criterion: Criterion;
  private readonly distance: ((a: Tensor, b: Tensor) => Tensor) | null;
  private readonly normalize: boolean;

  /** @throws UserError for a loss that is not known */
  constructor({ adv_loss, feat_loss = null, normalize = true }: AdversarialOptions) {
    this.criterion = pick("adversarial.adv_loss", adv_loss, criteria);
    this.distance = feat_loss === null ? null : pick("adversarial.feat_loss", feat_loss, distances);
    this.normalize = normalize;
  }

  /** What the discriminator minimises. */
  discriminator(fake: Verdict[], real: Verdict[]): Tensor {
    const terms = fake.map(({ logits }, i) =>
      tf.add(this.criterion.fake(logits), this.criterion.real(real[i].logits)),
    );
    return this.overall(terms as Tensor[]);
  }

  /** What the model minimises so that its output is taken for real. */
  generator(fake: Verdict[]): Tensor {
    return this.overall(fake.map(({ logits }) => this.criterion.generator(logits)));
  }

  /** What the model minimises so that the discriminator's layers see the same in its output as in the real one. */
  featureMatching(fake: Verdict[], real: Verdict[]): Tensor {
    const { distance } = this;
    if (distance === null) return tf.scalar(0);
    return this.overall(
      fake.map(({ featureMaps }, i) => {
        const others = real[i].featureMaps;
        return this.overall(featureMaps.map((map, layer) => distance(map, others[layer])));
      }),
    );
  }

  private overall(terms: Tensor[]): Tensor {
    const sum = terms.length === 1 ? terms[0] : tf.addN(terms);
    return this.normalize ? tf.div(sum, terms.length) : sum;
  }
}

/** A discriminator with the losses that it and the model play for. */
export class Adversary {
  readonly discriminator: Discriminator;
  private readonly losses: AdversarialLoss;

  constructor(discriminator: Discriminator, losses: AdversarialLoss) {
    this.discriminator = discriminator;
    this.losses = losses;
  }

  /** The discriminator's loss on waves [B, C, T], the model's and real ones. */
  discriminatorLoss(fake: Tensor, real: Tensor): Tensor {
    const [onFake, onReal] = [fake, real].map((wav) => this.judge(wav));
    return this.losses.discriminator(onFake, onReal);
  }

  /** The model's losses as functions of its wave [B, C, T]; the real one is judged once. Without `training`, nothing changes. */
  modelLosses(
    real: Tensor,
    training = true,
  ): {
    adversarial: (fake: Tensor) => Tensor;
    featureMatching: (fake: Tensor) => Tensor;
  } {
    const onReal = training ? this.judge(real) : this.discriminator.forward(real);
    const { discriminator, losses } = this;
    return {
      adversarial: (fake) => losses.generator(discriminator.forward(fake)),
      featureMatching: (fake) => losses.featureMatching(discriminator.forward(fake), onReal),
    };
  }

  private judge(wav: Tensor): Verdict[] {
    this.discriminator.iterateSpectralNorms();
    return this.discriminator.forward(wav);
  }
}

function pick<T>(key: string, name: string, known: Record<string, T>): T {
  if (Object.hasOwn(known, name)) return known[name];
  throw new UserError(`${key}=${name} is unknown: use one of ${Object.keys(known).join(", ")}.`);
}
