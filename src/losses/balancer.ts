/**
 * Balancer of losses (EnCodec, arXiv 2210.13438, section 3.4): scales the gradient of each loss by the moving average of its
 * norm, so that a weight is the share that a loss has in the whole gradient, whatever the loss is measured in.
 */
import { UserError } from "../errors.ts";
import { Module, Parameter, zeros } from "../nn/index.ts";
import { type Tensor, tf } from "../runtime/index.ts";

/** The `balancer` section of a config. */
export interface BalancerOptions {
  /** Without it gradients are only weighed. */
  balance_grads: boolean;
  /** Norm of the balanced gradient, if all its parts pointed the same way. */
  total_norm: number;
  ema_decay: number;
  /** Norms are means over the batch of those of each item, and not of the whole. */
  per_batch_item: boolean;
  epsilon?: number;
}

export interface Balanced {
  /** Of the output, to be pulled back through the model. */
  gradient: Tensor;
  /** The losses' sum with the scales that their gradients got. */
  loss: Tensor;
  /** Each loss's share of the summed average norms. */
  ratios: Record<string, Tensor>;
}

/** A loss with its gradient with respect to the model's output. */
export interface LossGradient {
  loss: Tensor;
  gradient: Tensor;
}

/** Its state, the sums of norms and of their weights, is saved as those of other modules are. */
export class Balancer extends Module {
  private readonly averages: Record<string, { total: Parameter; weight: Parameter }>;
  private readonly weights: Record<string, number>;
  private readonly options: BalancerOptions;

  /** `weights` of the losses by name. */
  constructor(weights: Record<string, number>, options: BalancerOptions) {
    super();
    const scalar = () => new Parameter([], zeros, { trainable: false });
    this.averages = Object.fromEntries(
      Object.keys(weights).map((name) => [name, { total: scalar(), weight: scalar() }]),
    );
    this.weights = weights;
    this.options = options;
  }

  /** Takes a step's losses into the averages, and combines their gradients. */
  balance(losses: Record<string, LossGradient>): Balanced {
    const { balance_grads, total_norm, per_batch_item, epsilon = 1e-12 } = this.options;
    const names = Object.keys(losses);
    const weightSum = names.reduce((sum, name) => sum + this.weights[name], 0);
    if (!(weightSum > 0)) throw new UserError("losses: at least one weight must be greater than 0.");
    const norms = names.map((name) => this.average(name, norm(losses[name].gradient, per_batch_item)));
    const total = names.length === 1 ? norms[0] : tf.addN(norms);
    const scales = names.map((name, i): Tensor => {
      if (!balance_grads) return tf.scalar(this.weights[name]);
      return tf.div((this.weights[name] / weightSum) * (total_norm || 1), tf.add(norms[i], epsilon));
    });
    const scaled = (of: (loss: LossGradient) => Tensor): Tensor => {
      const terms = names.map((name, i) => tf.mul(of(losses[name]), scales[i]) as Tensor);
      return terms.reduce((sum, term) => tf.add(sum, term));
    };
    return {
      gradient: scaled(({ gradient }) => gradient),
      loss: scaled(({ loss }) => loss),
      ratios: Object.fromEntries(names.map((name, i) => [name, tf.div(norms[i], total) as Tensor])),
    };
  }

  /** sum_t decay^age norm_t / sum_t decay^age, this step's included */
  private average(name: string, value: Tensor): Tensor {
    const { total, weight } = this.averages[name];
    const decay = this.options.ema_decay || 1;
    const sum = tf.add(tf.mul(total.value, decay), value) as Tensor;
    const weights = tf.add(tf.mul(weight.value, decay), 1) as Tensor;
    total.assign(sum);
    weight.assign(weights);
    return tf.div(sum, weights);
  }
}

function norm(gradient: Tensor, perItem: boolean): Tensor {
  const items = perItem ? gradient.reshape([gradient.shape[0], -1]) : gradient.reshape([1, -1]);
  return tf.mean(tf.sqrt(tf.sum(tf.square(items), 1)));
}
